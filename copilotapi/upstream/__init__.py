"""HTTP out: GitHub and Copilot. requests lives here and nowhere else; knows no protocol beyond what the wire demands."""
