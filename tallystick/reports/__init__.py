"""Reports for people and for those who ask the fleet for one."""
