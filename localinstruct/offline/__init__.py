"""Nothing leaves this machine: switches, the network wall with self-test, the egress report."""
