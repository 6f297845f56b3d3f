"""Networks: their input, their targets, their definition, and the folder each is shipped in."""
