// Times OpenBLAS for TestCompareOpenBLAS of package kernel. Each line on stdin is
//
//	threads m n k transA transB
//
// and each answer is the seconds of one product after one to warm up.
//
//	cc -O2 -o /tmp/openblas kernel/_gen/openblas/serve.c -lopenblas
//	RAVN_OPENBLAS=/tmp/openblas go test -run OpenBLAS -v ./kernel
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void openblas_set_num_threads(int);

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

static float *fill(size_t n) {
	float *x = aligned_alloc(64, (n * sizeof *x + 63) & ~63UL);
	if (!x) exit(1);
	for (size_t i = 0; i < n; i++) x[i] = (float)(i * 2654435761u % 1000) / 1000 - 0.5f;
	return x;
}

int main(void) {
	int threads, m, n, k, ta, tb;
	while (scanf("%d %d %d %d %d %d", &threads, &m, &n, &k, &ta, &tb) == 6) {
		float *a = fill((size_t)m * k), *b = fill((size_t)k * n), *c = fill((size_t)m * n);
		double t = 0;
		openblas_set_num_threads(threads);
		for (int i = 0; i < 2; i++) {
			t = now();
			cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, m, n, k, 1, a,
				ta ? m : k, b, tb ? k : n, 0, c, n);
			t = now() - t;
		}
		printf("%.9f\n", t);
		fflush(stdout);
		free(a);
		free(b);
		free(c);
	}
}
