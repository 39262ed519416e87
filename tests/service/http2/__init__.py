"""HTTP/2 as the server speaks it, in memory, against a caller of its own."""
