//go:build ignore

// Truth counts which of the copies that ravn corpus synthesize made were found by a build:
//
//	go run bench/corpus/truth.go SYNTH/truth.jsonl OUT/corpus/documents.parquet
//
// A pair is found when the ledger has both documents in one cluster. A pair of which a document was removed by a stage that
// looks at it alone, which come before copies are compared, is counted apart.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"ravn/pipeline"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: truth TRUTH.jsonl documents.parquet")
	}
	rows, err := pipeline.ReadLedger(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	at := make(map[string]*pipeline.Row, len(rows))
	for i := range rows {
		at[rows[i].Section+"/"+rows[i].ID] = &rows[i]
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	type count struct{ made, before, found int }
	counts := map[string]*count{"exact": {}, "near": {}}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var p struct{ A, B, Kind string }
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			log.Fatal(err)
		}
		c, a, b := counts[p.Kind], at[p.A], at[p.B]
		if c == nil || a == nil || b == nil {
			log.Fatalf("%s %s %s: not in the ledger", p.Kind, p.A, p.B)
		}
		earlier := func(r *pipeline.Row) bool { return r.Verdict == pipeline.VerdictDrop && r.Stage != "dedup" }
		switch c.made++; {
		case earlier(a) || earlier(b):
			c.before++
		case a.Cluster >= 0 && a.Cluster == b.Cluster:
			c.found++
		default:
			fmt.Printf("not found: %s %s, %s\n", p.Kind, p.A, p.B)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
	for _, kind := range []string{"exact", "near"} {
		c := counts[kind]
		fmt.Printf("%s: %d made, %d fell to other stages, %d of the other %d found\n", kind, c.made, c.before, c.found, c.made-c.before)
	}
}
