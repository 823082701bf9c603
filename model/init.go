package model

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"runtime"
	"strings"
	"sync"
)

// Init makes the weights of an untrained decoder: matrices and embeddings normal with standard deviation
// InitializerRange, the two that write to the residual stream (o_proj, down_proj) divided by sqrt(2L) as in GPT-2
// (Radford et al. 2019, section 2.3), norms 1.
//
// Every number is a function of seed, tensor name and index alone, so order and number of threads do not matter.
func Init(c *Config, seed uint64) *Weights {
	w := &Weights{Config: c, Params: make([]float32, c.NumParams())}
	residual := 1 / math.Sqrt(2*float64(c.NumHiddenLayers))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, p := range c.Layout() {
		dst := w.Params[p.Offset : p.Offset+p.Size]
		if !p.Decay {
			for i := range dst {
				dst[i] = 1
			}
			continue
		}
		std := c.InitializerRange
		if strings.HasSuffix(p.Name, "o_proj.weight") || strings.HasSuffix(p.Name, "down_proj.weight") {
			std *= residual
		}
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			fillNormal(dst, streamKey(seed, p.Name), std)
		}()
	}
	wg.Wait()
	return w
}

// streamKey is the key of the random stream of one tensor.
func streamKey(seed uint64, name string) uint64 {
	h := sha256.Sum256(append(binary.LittleEndian.AppendUint64([]byte("ravn init "), seed), name...))
	return binary.LittleEndian.Uint64(h[:])
}

// fillNormal writes std times a standard normal number to each element of dst.
func fillNormal(dst []float32, key uint64, std float64) {
	for i := range dst {
		dst[i] = float32(std * normal(uniform(key, uint64(i))))
	}
}

// Uniform fills dst with numbers uniform in (-bound, bound), each a function of seed, name and index alone.
func Uniform(dst []float32, seed uint64, name string, bound float64) {
	key := streamKey(seed, name)
	for i := range dst {
		dst[i] = float32(bound * (2*uniform(key, uint64(i)) - 1))
	}
}

// uniform is number i of the stream key, in (0, 1): SplitMix64 (Steele, Lea & Flood 2014,
// https://doi.org/10.1145/2660193.2660195) read at place i.
func uniform(key, i uint64) float64 {
	z := key + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return (float64(z>>11) + 0.5) * 0x1p-53
}

// normal is the quantile function of the standard normal distribution, to about 1e-16:
// Wichura 1988, algorithm AS 241 (PPND16), https://doi.org/10.2307/2347330.
//
// Products are converted explicitly, which keeps compilers from fusing them, so all machines give the same number.
func normal(p float64) float64 {
	q := p - 0.5
	if math.Abs(q) <= 0.425 {
		r := 0.180625 - float64(q*q)
		return q * ratio(r, &centralNum, &centralDen)
	}
	r := p
	if q > 0 {
		r = 1 - p
	}
	r = math.Sqrt(-math.Log(r))
	var x float64
	if r <= 5 {
		x = ratio(r-1.6, &tailNum, &tailDen)
	} else {
		x = ratio(r-5, &farNum, &farDen)
	}
	return math.Copysign(x, q)
}

// ratio is the quotient of two polynomials in r, coefficients from the highest power down.
func ratio(r float64, num, den *[8]float64) float64 {
	n, d := num[0], den[0]
	for i := 1; i < 8; i++ {
		n = float64(n*r) + num[i]
		d = float64(d*r) + den[i]
	}
	return n / d
}

// The coefficients of AS 241, highest power first.
var (
	centralNum = [8]float64{
		2.5090809287301226727e+3, 3.3430575583588128105e+4, 6.7265770927008700853e+4, 4.5921953931549871457e+4,
		1.3731693765509461125e+4, 1.9715909503065514427e+3, 1.3314166789178437745e+2, 3.3871328727963666080e+0,
	}
	centralDen = [8]float64{
		5.2264952788528545610e+3, 2.8729085735721942674e+4, 3.9307895800092710610e+4, 2.1213794301586595867e+4,
		5.3941960214247511077e+3, 6.8718700749205790830e+2, 4.2313330701600911252e+1, 1,
	}
	tailNum = [8]float64{
		7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e+0,
		3.64784832476320460504e+0, 5.76949722146069140550e+0, 4.63033784615654529590e+0, 1.42343711074968357734e+0,
	}
	tailDen = [8]float64{
		1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
		6.89767334985100004550e-1, 1.67638483018380384940e+0, 2.05319162663775882187e+0, 1,
	}
	farNum = [8]float64{
		2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
		2.96560571828504891230e-1, 1.78482653991729133580e+0, 5.46378491116411436990e+0, 6.65790464350110377720e+0,
	}
	farDen = [8]float64{
		2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
		1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1,
	}
)
