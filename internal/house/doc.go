// Package house has no code of its own: its test holds the imports of all packages to the table in ARCHITECTURE.md.
package house
