package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"ravn/recipe"
	"ravn/rights"
	"ravn/rights/register"
	"ravn/workflow"
)

// RightsCmd groups what is done with the register of rights.
type RightsCmd struct {
	List  RightsListCmd  `cmd:"" help:"The sources of a register: claims, what counts, until when."`
	Check RightsCheckCmd `cmd:"" help:"What a recipe's result could be released as, section by section."`
	Add   RightsAddCmd   `cmd:"" help:"Write a source, an agreement, a claim or a decision into a register, and into its log."`
}

// RightsListCmd prints a register.
type RightsListCmd struct {
	Dir     string `arg:"" name:"register" type:"existingdir" help:"Folder of the register."`
	Source  string `help:"Only this source, with all its claims and decisions."`
	Purpose string `enum:"release,research" default:"release" help:"Judge for release or research."`
	Date    string `help:"Day to judge on, YYYY-MM-DD; default today."`
	Log     bool   `help:"Print the log instead: who changed what, when and why."`
	JSON    bool   `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *RightsListCmd) Help() string {
	return `Examples:
  ravn rights list recipes/rights/danish-gigaword
  ravn rights list recipes/rights/danish-gigaword --source wiki`
}

// Run prints.
func (c *RightsListCmd) Run(s *Streams) error {
	if err := rights.CheckDate(c.Date); err != nil {
		return usageError{err}
	}
	r, err := register.Open(c.Dir)
	if err != nil {
		return err
	}
	if c.Log {
		return printLog(s, r, c.JSON)
	}
	policy := rights.Policy{Purpose: c.Purpose, ShareAlike: "allow", Date: cmp.Or(c.Date, today())}
	type row struct {
		*register.Source
		Finding rights.Finding `json:"finding"`
	}
	var rows []row
	for _, x := range r.Sources {
		if c.Source == "" || c.Source == x.Source {
			f := r.Status(x, policy)
			f.Share, f.Tokens = 0, 0
			rows = append(rows, row{x, f})
		}
	}
	if len(rows) == 0 {
		return usageError{fmt.Errorf("rights: no source %q in %s", c.Source, c.Dir)}
	}
	if c.JSON {
		return s.JSON(rows)
	}
	fmt.Fprintf(s.Out, "%-20s %-9s %-34s %7s  %s\n", "source", c.Purpose, "licence", "claims", "why")
	for _, x := range rows {
		license := x.Finding.License
		if x.Finding.ValidTo != "" {
			license += " to " + x.Finding.ValidTo
		}
		fmt.Fprintf(s.Out, "%-20s %-9s %-34s %7d  %s\n", x.Source.Source, x.Finding.Verdict, cmp.Or(license, "-"), len(x.Claims), x.Finding.Reason)
	}
	if c.Source != "" {
		printSource(s.Out, rows[0].Source)
	}
	return nil
}

func printSource(w io.Writer, x *register.Source) {
	fmt.Fprintf(w, "\n%s\n", x.Title)
	for _, c := range x.Claims {
		fmt.Fprintf(w, "  claim     %s\n", c)
	}
	for _, a := range x.Agreements {
		fmt.Fprintf(w, "  agreement %s\n", a)
	}
	for _, v := range x.Reservations {
		fmt.Fprintf(w, "  mining    %s at %s, read %s: reserved %t\n", v.Signal, v.Where, v.Read, v.Reserved)
	}
	for _, d := range x.Decisions {
		fmt.Fprintf(w, "  decision  %s\n", d)
	}
	for _, n := range x.Notes {
		fmt.Fprintf(w, "  note      %s\n", n)
	}
	fmt.Fprintf(w, "  people    %s %s\n", x.PersonalData.Level, x.PersonalData.Note)
}

func printLog(s *Streams, r *register.Register, asJSON bool) error {
	if asJSON {
		return s.JSON(r.Log)
	}
	for _, e := range r.Log {
		fmt.Fprintf(s.Out, "%4d  %s  %-30s %s: %s\n", e.Number, e.Date, e.File, e.By, e.Reason)
	}
	return nil
}

// RightsCheckCmd judges a recipe.
type RightsCheckCmd struct {
	Recipe   string `arg:"" type:"existingfile" help:"Recipe to judge."`
	Purpose  string `help:"release or research; default the recipe's."`
	Date     string `help:"Day to judge on, YYYY-MM-DD; default today."`
	Register string `help:"Register to judge by; default the recipe's."`
	JSON     bool   `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *RightsCheckCmd) Help() string {
	return `Shares are of the tokens that the recipe's phases would read, by their mixtures. Exits with 3 when a section is held or forbidden.

Examples:
  ravn rights check recipes/sample-da.yaml
  ravn rights check recipes/sample-da.yaml --purpose research --date 2027-01-01 --json`
}

// Run judges and prints.
func (c *RightsCheckCmd) Run(s *Streams) error {
	r, err := recipe.Load(c.Recipe)
	if err != nil {
		return usageError{err}
	}
	o := workflow.RightsOptions{Purpose: c.Purpose, Date: c.Date, Register: c.Register}
	if err := o.Validate(); err != nil {
		return usageError{err}
	}
	x, err := workflow.CheckRights(r, o)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := s.JSON(x); err != nil {
			return err
		}
	} else {
		x.Write(s.Out)
	}
	return x.Refusal()
}

// RightsAddCmd changes a register.
type RightsAddCmd struct {
	Dir    string   `arg:"" name:"register" help:"Folder of the register; made when it is not there."`
	Files  []string `arg:"" optional:"" type:"existingfile" help:"Sources or agreements in YAML, new ones or changed by hand."`
	Source string   `help:"Instead of a file: the source to add a claim or decision to."`
	Says   string   `help:"A claim: its words."`
	Means  string   `help:"A claim: the licence that the words mean, where they do not say it themselves."`
	Where  string   `help:"A claim: where it was read."`
	Read   string   `help:"A claim: when it was read, YYYY-MM-DD; default --date."`
	Decide string   `help:"A decision: an SPDX id, agreement:ID, hold or refuse."`
	By     string   `required:"" help:"Who adds it."`
	Reason string   `required:"" help:"Why."`
	Date   string   `help:"When, YYYY-MM-DD; default today."`
}

// Help is shown under --help.
func (c *RightsAddCmd) Help() string {
	return `Nothing is ever taken out: claims, reservations and decisions are added at the end, and the log keeps every text.

Examples:
  ravn rights add rights wiki.yaml --by anna --reason "first reading"
  ravn rights add rights --source wiki --says "CC BY-SA 4.0" --where "footer of da.wikipedia.org" --by anna --reason "checked at the origin"
  ravn rights add rights --source wiki --decide CC-BY-SA-4.0 --by anna --reason "the origin's licence counts"`
}

// Run adds.
func (c *RightsAddCmd) Run(s *Streams) error {
	if (len(c.Files) == 0) == (c.Source == "") {
		return usageError{errors.New("rights add: give files, or --source with a claim (--says, --where) or --decide")}
	}
	date := cmp.Or(c.Date, today())
	if err := rights.CheckDate(date); err != nil {
		return usageError{err}
	}
	texts, err := c.texts(date)
	if err != nil {
		return err
	}
	for _, text := range texts {
		file, err := register.Add(c.Dir, text, c.By, date, c.Reason)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(s.Out, "%s is in the register and in its log\n", file); err != nil {
			return err
		}
	}
	_, err = register.Open(c.Dir)
	return err
}

// texts are the files as they are to be from now on.
func (c *RightsAddCmd) texts(date string) (texts [][]byte, err error) {
	for _, path := range c.Files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	if c.Source == "" {
		return texts, nil
	}
	r, err := register.Open(c.Dir)
	if err != nil {
		return nil, err
	}
	var claim *register.Claim
	var decision *register.Decision
	if c.Says != "" || c.Where != "" {
		claim = &register.Claim{Says: c.Says, License: c.Means, Where: c.Where, Read: cmp.Or(c.Read, date)}
	}
	if c.Decide != "" {
		decision = &register.Decision{By: c.By, Date: date, Reason: c.Reason}
		id, isAgreement := strings.CutPrefix(c.Decide, "agreement:")
		switch {
		case isAgreement:
			decision.Agreement = id
		case c.Decide == "hold":
			decision.Hold = true
		case c.Decide == "refuse":
			decision.Refuse = true
		default:
			decision.License = c.Decide
		}
	}
	if claim == nil && decision == nil {
		return nil, usageError{errors.New("rights add: --source needs a claim (--says, --where) or --decide")}
	}
	text, err := r.With(c.Source, claim, decision)
	return [][]byte{text}, err
}

func today() string { return time.Now().Format(time.DateOnly) }
