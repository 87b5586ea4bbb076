"""The lowest floor: files, configs, console, devices. Imports nothing else of ours."""
