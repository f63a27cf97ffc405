"""Elementary functions without branches, which vectorize inside the loops that call them."""
