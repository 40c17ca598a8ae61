"""HTTP in: Flask lives here and in app. Views decode, ask the gateway and respond; they decide nothing else."""
