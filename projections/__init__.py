"""What people see: committed events folded into views that can be thrown away and rebuilt."""
