package train

import (
	"fmt"
	"slices"
	"strings"
)

// Differences tells what differs between two recipes as they are resolved, a line a field: "train.steps: 300 → 400".
// It knows as much of YAML as resolved recipes hold: keys, lists and values on lines of their own.
func Differences(was, is string) []string {
	oldKeys, old := flatten(was)
	newKeys, now := flatten(is)
	var lines []string
	for _, k := range oldKeys {
		if v, ok := now[k]; !ok {
			lines = append(lines, fmt.Sprintf("%s: %s → (not there)", k, old[k]))
		} else if v != old[k] {
			lines = append(lines, fmt.Sprintf("%s: %s → %s", k, old[k], v))
		}
	}
	for _, k := range newKeys {
		if _, ok := old[k]; !ok {
			lines = append(lines, fmt.Sprintf("%s: (not there) → %s", k, now[k]))
		}
	}
	return lines
}

// flatten gives each value of a resolved recipe the path of its keys: "data.sources[0].path".
func flatten(text string) (keys []string, values map[string]string) {
	type level struct {
		indent int
		name   string
	}
	values = map[string]string{}
	var stack []level
	path := func() string {
		var b strings.Builder
		for _, l := range stack {
			if l.name != "" && !strings.HasPrefix(l.name, "[") && b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(l.name)
		}
		return b.String()
	}
	counts := map[string]int{}
	for _, line := range strings.Split(text, "\n") {
		rest := strings.TrimLeft(line, " ")
		if rest == "" || rest[0] == '#' {
			continue
		}
		indent := len(line) - len(rest)
		for {
			item := strings.HasPrefix(rest, "- ")
			for len(stack) > 0 && (stack[len(stack)-1].indent > indent || stack[len(stack)-1].indent == indent && (!item || strings.HasPrefix(stack[len(stack)-1].name, "["))) {
				stack = stack[:len(stack)-1]
			}
			if !item {
				break
			}
			list := path()
			stack = append(stack, level{indent: indent, name: fmt.Sprintf("[%d]", counts[list])})
			counts[list]++
			trimmed := strings.TrimLeft(rest[2:], " ")
			indent += len(rest) - len(trimmed)
			rest = trimmed
		}
		key, value, isKey := strings.Cut(rest, ":")
		if isKey && (value == "" || value[0] == ' ') {
			stack = append(stack, level{indent: indent, name: key})
			rest = strings.TrimSpace(value)
		}
		if rest != "" {
			if k := path(); !slices.Contains(keys, k) {
				keys = append(keys, k)
				values[k] = rest
			}
		}
	}
	return keys, values
}
