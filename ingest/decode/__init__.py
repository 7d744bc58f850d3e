"""One video decoder a file, behind one interface and in a process of its own."""
