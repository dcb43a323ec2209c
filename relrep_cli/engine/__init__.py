"""The engine room: run the tasks of a job in this process, in processes on this machine, or on a Dask cluster."""
