"""From Python source to IR: rejects first, then interprets the syntax tree with abstract values."""
