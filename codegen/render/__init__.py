"""Scheduled IR -> readable Python source, as it runs under plain Python and under Numba.

In: a scheduled function. Out: the text of a module with one function. `folding` puts operations that are used
once into the expression that uses them, `variables` finds values that can share one Python variable,
`expressions` knows how each operation is written, `writer` writes statements. `codegen.emit.render` is the
entrance."""
