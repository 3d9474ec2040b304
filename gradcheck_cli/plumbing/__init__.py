"""What must hold before any number is compared: each test is small, names its own bug, and costs a few calls."""
