//go:build unix

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// TestSlurmScript runs the script with a ravn and a scontrol of our own: what ends by itself ends the job with its code;
// what is stopped by Slurm's TERM is requeued, unless a gate or wrong use ended it.
func TestSlurmScript(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	recipeFile := tiny(t)
	for _, x := range []struct {
		name, ravn string
		terms      int
		code       int
		requeued   bool
	}{
		{"done", "exit 0", 0, 0, false},
		{"failed", "exit 1", 0, 1, false},
		{"gate", "exit 3", 0, 3, false},
		{"stopped", "trap 'exit 1' TERM; touch began; while :; do sleep 0.02; done", 1, 0, true},
		{"stopped twice", "trap '[ -f first ] && sleep 0.3 && exit 1; touch first' TERM; touch began; while :; do sleep 0.02; done", 2, 0, true},
		{"killed for memory", "kill -KILL $$", 0, 137, false},
		{"done at the last moment", "trap 'exit 0' TERM; touch began; while :; do sleep 0.02; done", 1, 0, false},
		{"guard while stopping", "trap 'exit 3' TERM; touch began; while :; do sleep 0.02; done", 1, 3, false},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "_"), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "it's a folder")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"ravn": "echo \"$@\" > arguments\n" + x.ravn, "scontrol": "echo \"$@\" > requeued"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("#!"+bash+"\n"+text+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			script := mustRavn(t, "launch", "slurm", recipeFile, "--out", "a run", "--cpus", "2", "--program", filepath.Join(dir, "ravn"), "--env", "RAVN_DATA=it's here")
			cmd := exec.Command(bash, "-c", script)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "SLURM_JOB_ID=17")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for _, sign := range []string{"began", "first"}[:x.terms] {
				for range 500 {
					if _, err := os.Stat(filepath.Join(dir, sign)); err == nil {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
				if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != x.code {
				t.Errorf("exit code %d, want %d", got, x.code)
			}
			requeued, err := os.ReadFile(filepath.Join(dir, "requeued"))
			if (err == nil) != x.requeued || x.requeued && string(requeued) != "requeue 17\n" {
				t.Errorf("requeued %q (%v), want %t", requeued, err, x.requeued)
			}
			arguments, err := os.ReadFile(filepath.Join(dir, "arguments"))
			if want := "run " + recipeFile + " --out a run --engine cpu --threads 2\n"; err != nil || string(arguments) != want {
				t.Errorf("arguments %q (%v), want %q", arguments, err, want)
			}
		})
	}
}

func TestKubernetesJob(t *testing.T) {
	recipeFile := tiny(t)
	out := mustRavn(t, "launch", "k8s", recipeFile, "--image", "images.example/ravn:1", "--claim", "corpus", "--engine", "xla", "--plugin", "cuda", "--memory", "12")
	type mapping = map[string]any
	var j struct {
		Kind string
		Spec struct {
			PodFailurePolicy struct {
				Rules []struct {
					Action      string
					OnExitCodes struct{ Values []int } `yaml:"onExitCodes"`
				}
			} `yaml:"podFailurePolicy"`
			Template struct {
				Spec struct {
					Grace      int `yaml:"terminationGracePeriodSeconds"`
					Containers []struct {
						Image     string
						Command   []string
						Env       []struct{ Name, Value string }
						Resources struct{ Requests, Limits mapping }
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(out), &j); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pod := j.Spec.Template.Spec
	c := pod.Containers[0]
	if want := "ravn run " + recipeFile + " --out /data/runs/tiny --engine xla --threads 16"; strings.Join(c.Command, " ") != want {
		t.Errorf("command %q, want %q", c.Command, want)
	}
	if j.Kind != "Job" || pod.Grace != 600 || c.Resources.Limits["memory"] != "12Gi" || c.Resources.Limits["nvidia.com/gpu"] != uint64(1) {
		t.Errorf("%+v", j)
	}
	if len(c.Env) != 2 || c.Env[0].Name != "RAVN_PJRT" || c.Env[1].Name != "RAVN_DATA" || c.Env[1].Value != "/data" {
		t.Errorf("environment %v", c.Env)
	}
	if r := j.Spec.PodFailurePolicy.Rules; len(r) != 2 || r[0].Action != "FailJob" || len(r[0].OnExitCodes.Values) != 2 {
		t.Errorf("failure policy %+v", r)
	}
}

// TestKubeName: names are cut to what Kubernetes takes.
func TestKubeName(t *testing.T) {
	for name, want := range map[string]string{"Sample_DA.12m": "sample-da-12m", "a-": "a", strings.Repeat("a", 62) + "-b": strings.Repeat("a", 62)} {
		if got := kubeName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// TestLaunchedFilesAreClean holds the script to shellcheck, where it is, and the manifest of several GPUs to its shared memory.
func TestLaunchedFilesAreClean(t *testing.T) {
	recipeFile := tiny(t)
	job := mustRavn(t, "launch", "k8s", recipeFile, "--image", "a", "--claim", "b", "--engine", "xla", "--gpus", "4")
	var j struct {
		Spec struct {
			Template struct {
				Spec struct {
					Volumes    []struct{ Name string }
					Containers []struct {
						VolumeMounts []struct{ Name, MountPath string } `yaml:"volumeMounts"`
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(job), &j); err != nil {
		t.Fatalf("%v\n%s", err, job)
	}
	if pod := j.Spec.Template.Spec; len(pod.Volumes) != 2 || len(pod.Containers[0].VolumeMounts) != 2 {
		t.Errorf("volumes %+v", pod)
	}
	check, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("no shellcheck")
	}
	script := mustRavn(t, "launch", "slurm", recipeFile, "--engine", "xla", "--gpus", "2", "--partition", "gpu", "--plugin", "cuda", "--env", "A=b c")
	cmd := exec.Command(check, "-s", "bash", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestLaunchRefuses(t *testing.T) {
	recipeFile := tiny(t)
	for _, x := range []struct{ args, want string }{
		{"slurm --gpus 2", "engine cpu uses none"},
		{"slurm --cpus 0", "must be positive"},
		{"slurm --time 5m", "longer than --grace"},
		{"slurm --partition a;b", "plain names"},
		{"slurm --env 1A=b", "no name of an environment variable"},
		{"k8s --image a", "claim"},
		{"k8s --image a --claim b --mount data", "absolute path"},
	} {
		args := strings.Fields(x.args)
		cmd := ravn(append([]string{"launch", args[0], recipeFile}, args[1:]...)...)
		out, err := cmd.Stderr, cmd.Run()
		text := out.(interface{ String() string }).String()
		if err == nil || cmd.ProcessState.ExitCode() != ExitUsage || !strings.Contains(text, x.want) {
			t.Errorf("%s: %v, %q, want %q and exit code 2", x.args, err, text, x.want)
		}
	}
}
