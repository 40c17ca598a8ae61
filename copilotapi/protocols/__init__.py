"""Wire protocols and the vocabulary they share. Pure: values in, values out; no I/O, no clock, no Flask, no requests."""
