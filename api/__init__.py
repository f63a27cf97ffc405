"""What users call: transforms, the compiled object, trees of arguments, checks and errors."""
