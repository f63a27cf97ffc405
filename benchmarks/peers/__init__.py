"""GradBench's programs as users of other libraries write them, to compare with: `<library>_<program>.py` has `primal`
and `derivative`, which take the arguments of the program's two functions; results stay in the library's arrays, and are
there when a call returns."""
