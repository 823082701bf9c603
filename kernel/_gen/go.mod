module ravn/kernel/gen

go 1.26.0
