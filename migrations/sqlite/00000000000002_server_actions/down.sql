DROP TABLE server_actions;
