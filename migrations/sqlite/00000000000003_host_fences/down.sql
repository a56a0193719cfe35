DROP TABLE host_fences;
