package cli

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"ravn/recipe"
	"ravn/workflow"
)

// LaunchCmd writes job files for clusters.
type LaunchCmd struct {
	Slurm LaunchSlurmCmd `cmd:"" help:"A batch script for sbatch that is requeued until the run is done."`
	K8s   LaunchK8sCmd   `cmd:"" name:"k8s" help:"A Kubernetes Job that goes on in a new pod until the run is done."`
}

// launchFlags are what both kinds of job need. The job runs on one node, in one process that drives all its GPUs.
type launchFlags struct {
	Recipe  string            `arg:"" help:"Recipe to follow; the job sees it under the path given here."`
	Out     string            `help:"Run folder; default runs/NAME. It has to outlive the job."`
	Engine  string            `enum:"cpu,xla" default:"cpu" help:"What trains: cpu or xla."`
	CPUs    int               `name:"cpus" default:"16" help:"Processors."`
	GPUs    int               `name:"gpus" default:"0" help:"GPUs; 1 with --engine xla where none is given."`
	Memory  int               `help:"GiB of memory; 0 is what the plan of the recipe says and a quarter more."`
	Grace   time.Duration     `default:"10m" help:"Time between TERM and the end, for the last step and its checkpoint."`
	Plugin  string            `help:"PJRT plug-in for --engine xla (RAVN_PJRT), as the job sees it."`
	Env     map[string]string `help:"Further environment variables: NAME=VALUE;NAME=VALUE. No secrets: the file holds them in plain text."`
	Program string            `default:"ravn" help:"Path of ravn, as the job sees it."`
}

// LaunchSlurmCmd writes a batch script.
type LaunchSlurmCmd struct {
	launchFlags `embed:""`

	Time      time.Duration `default:"24h" help:"Wall-clock time of one turn; the job is requeued until the run is done."`
	Partition string        `help:"Partition."`
	Account   string        `help:"Account."`
}

// Help is shown under --help.
func (c *LaunchSlurmCmd) Help() string {
	return `The script goes to stdout. Slurm's TERM before the end leaves a checkpoint, and the requeued job goes on from it.

Example:
  ravn launch slurm recipes/sample-da.yaml --time 4h --cpus 16 > sample-da.sh`
}

// LaunchK8sCmd writes a Job.
type LaunchK8sCmd struct {
	launchFlags `embed:""`

	Image string `required:"" help:"Container image that holds ravn."`
	Claim string `required:"" help:"PersistentVolumeClaim with recipe, data and run folder."`
	Mount string `default:"/data" help:"Where the claim is mounted."`
}

// Help is shown under --help.
func (c *LaunchK8sCmd) Help() string {
	return `The manifest goes to stdout. Relative paths of recipe and run folder are below --mount.

Example:
  ravn launch k8s recipes/sample-da.yaml --image registry.example/ravn --claim corpus > job.yaml`
}

// job is what the templates are filled with.
type job struct {
	Name, Recipe, Out, Engine, Plugin, Program string
	CPUs, GPUs, MemoryGiB, GraceSeconds        int
	Env                                        []envVar
	SlurmTime, Partition, Account              string // slurm
	KubeName, Image, Claim, Mount              string // k8s
	Threads, MemoryQuantity                    string
}

type envVar struct{ Name, Value string }

var (
	//go:embed launch/slurm.sh.tmpl
	slurmText string
	//go:embed launch/k8s.yaml.tmpl
	k8sText string

	launchFuncs = template.FuncMap{"sh": shellQuote, "q": jsonQuote}
	slurmJob    = template.Must(template.New("slurm").Funcs(launchFuncs).Parse(slurmText))
	k8sJob      = template.Must(template.New("k8s").Funcs(launchFuncs).Parse(k8sText))

	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	slurmName  = regexp.MustCompile(`^[A-Za-z0-9_.,-]*$`)
	notForKube = regexp.MustCompile(`[^a-z0-9]+`)
)

// shellQuote makes one word of a shell of s.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// jsonQuote makes a YAML string of s: JSON's strings are YAML's.
func jsonQuote(s string) (string, error) {
	out, err := json.Marshal(s)
	return string(out), err
}

// kubeName is a recipe's name as Kubernetes takes one for a Job and the label that its pods get: 63 of a-z, 0-9 and "-".
func kubeName(name string) string {
	name = notForKube.ReplaceAllString(strings.ToLower(name), "-")
	return strings.Trim(name[:min(len(name), 63)], "-")
}

// job checks the flags and reckons what the run needs.
func (c *launchFlags) job() (*job, error) {
	r, err := recipe.Load(c.Recipe)
	if err != nil {
		return nil, usageError{err}
	}
	j := &job{
		Name: r.Name, Recipe: c.Recipe, Out: c.Out, Engine: c.Engine, Plugin: c.Plugin, Program: c.Program, CPUs: c.CPUs, GPUs: c.GPUs,
		MemoryGiB: c.Memory, GraceSeconds: int(c.Grace.Seconds()),
		KubeName: kubeName(r.Name),
	}
	if j.Out == "" {
		j.Out = path.Join("runs", r.Name)
	}
	if c.CPUs < 1 || c.GPUs < 0 || c.Memory < 0 || j.GraceSeconds < 1 {
		return nil, usageError{fmt.Errorf("launch: --cpus and --grace must be positive, --gpus and --memory not negative")}
	}
	if c.Engine == "xla" && j.GPUs == 0 {
		j.GPUs = 1
	}
	if j.GPUs > 1 && c.Engine == "cpu" {
		return nil, usageError{fmt.Errorf("launch: %d GPUs: engine cpu uses none (add --engine xla)", j.GPUs)}
	}
	for name, value := range c.Env {
		if !envName.MatchString(name) {
			return nil, usageError{fmt.Errorf("launch: --env: %q is no name of an environment variable", name)}
		}
		j.Env = append(j.Env, envVar{name, value})
	}
	slices.SortFunc(j.Env, func(a, b envVar) int { return strings.Compare(a.Name, b.Name) })
	if j.MemoryGiB == 0 {
		if j.MemoryGiB, err = neededGiB(r, c.Engine); err != nil {
			return nil, err
		}
	}
	j.Threads, j.MemoryQuantity = fmt.Sprint(j.CPUs), fmt.Sprintf("%dGi", j.MemoryGiB)
	return j, nil
}

// neededGiB is the planned memory of the largest phase, a quarter more, and 2 GiB for corpus and evaluation. An engine on
// a GPU needs the host for the weights that it starts from and a copy of parameters and moments, 16 bytes a parameter.
func neededGiB(r *recipe.Recipe, engine string) (int, error) {
	plan, err := workflow.PlanCost(r)
	if err != nil {
		return 0, err
	}
	var most int64
	for _, p := range plan.Phases {
		bytes := p.MemoryBytes
		if engine == "xla" {
			bytes = 4 * p.Devices[0].Memory[0].Bytes
		}
		most = max(most, bytes)
	}
	return int(most/4*5>>30) + 3, nil
}

// Run writes the script.
func (c *LaunchSlurmCmd) Run(s *Streams) error {
	j, err := c.job()
	if err != nil {
		return err
	}
	if c.Time <= c.Grace {
		return usageError{fmt.Errorf("launch: --time %s must be longer than --grace %s", c.Time, c.Grace)}
	}
	if !slurmName.MatchString(c.Partition) || !slurmName.MatchString(c.Account) {
		return usageError{fmt.Errorf("launch: --partition %q and --account %q must be plain names", c.Partition, c.Account)}
	}
	minutes := int(c.Time.Minutes())
	j.SlurmTime, j.Partition, j.Account = fmt.Sprintf("%d-%02d:%02d:00", minutes/1440, minutes/60%24, minutes%60), c.Partition, c.Account
	return slurmJob.Execute(s.Out, j)
}

// Run writes the manifest.
func (c *LaunchK8sCmd) Run(s *Streams) error {
	j, err := c.job()
	if err != nil {
		return err
	}
	if !path.IsAbs(c.Mount) {
		return usageError{fmt.Errorf("launch: --mount %q must be an absolute path", c.Mount)}
	}
	j.Image, j.Claim, j.Mount = c.Image, c.Claim, c.Mount
	if _, ok := c.Env["RAVN_DATA"]; !ok { // recipes look for data there
		j.Env = append(j.Env, envVar{"RAVN_DATA", c.Mount})
	}
	for _, p := range []*string{&j.Recipe, &j.Out} {
		if !path.IsAbs(*p) {
			*p = path.Join(c.Mount, *p)
		}
	}
	return k8sJob.Execute(s.Out, j)
}
