"""The promise that nothing leaves this machine: switches, the network wall with its self-test, the
egress report."""
