"""Whole jobs over a data set, planned and run in parallel; the only package that knows Dask."""
