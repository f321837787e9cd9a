"""Reports for people and for those who ask the house for one."""
