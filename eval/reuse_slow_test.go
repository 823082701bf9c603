//go:build slow

package eval_test

func init() { scalaItems = 0 }
