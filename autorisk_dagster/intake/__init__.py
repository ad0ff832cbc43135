"""How footage comes in: a folder, a bucket, an address; what is new, and under which identity it is kept."""
