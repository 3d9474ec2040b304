"""Foreign code as a layer, one kind of code per file."""
