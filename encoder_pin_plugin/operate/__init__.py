"""What people look at: the command line, reports, the doctor."""
