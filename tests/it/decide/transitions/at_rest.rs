//! What may happen to a volume on which nothing runs. Written by hand from the specification (`spec/volumes.md` §6, §7,
//! `spec/attachments.md` §2, `spec/volume-actions.md` §2, `spec/nova-volume-attachments.md` §4, §6).

/// The volume's own verbs.
pub const VERBS: &str = "
situation                          | update     | delete                            | force delete                      | unmanage             | extend < 3.42       | extend                  | reset available | reset in-use  | reset detached
available                          | ✓          | → deleting: delete                | → deleting: delete                | → unmanaging: disown | → extending: extend | → extending: extend     | ✓               | 400 input     | ✓
available, multiattach             | ✓          | → deleting: delete                | → deleting: delete                | → unmanaging: disown | → extending: extend | → extending: extend     | ✓               | 400 input     | ✓
reserved: row                      | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use R-86 | → available
reserved: row, multiattach         | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use R-86 | → available
attaching: row connected           | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | → available: unexport R-85
attaching: two rows, one connected | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | → available: unexport R-85
in-use: row complete               | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | → extending: extend     | → available     | ✓             | → available: unexport R-85
in-use: server                     | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | → extending: extend     | → available     | ✓             | → available: unexport R-85
in-use: server, multiattach        | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | → extending: extend     | → available     | ✓             | → available: unexport R-85
in-use: shelved server, flagged    | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | → extending: extend     | → available     | ✓             | → available
reserved: attach in doubt          | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use R-86 | → available: drain R-85
available: attach failed           | ✓          | → deleting: delete                | → deleting: delete                | → unmanaging: disown | → extending: extend | → extending: extend     | ✓               | → in-use R-86 | ✓
in-use: detach in doubt            | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | → extending: drain R-83 | → available     | ✓             | → available: drain R-85
available: snapshot                | ✓          | 400 status                        | 400 status                        | 400 status           | → extending: extend | → extending: extend     | ✓               | 400 input     | ✓
available: snapshot in error       | ✓          | 400 status                        | 400 status                        | 400 status           | → extending: extend | → extending: extend     | ✓               | 400 input     | ✓
in-use: server, snapshot           | ✓          | 400 status                        | 400 status                        | 400 status           | 400 status          | → extending: extend     | → available     | ✓             | → available: unexport
error                              | ✓          | → deleting: delete                | → deleting: delete                | → unmanaging: disown | 400 status          | 400 status              | → available     | 400 input     | ✓
error: never placed                | ✓          | → gone                            | → gone                            | → gone               | 400 status          | 400 status              | → available     | 400 input     | ✓
available: from an image           | ✓          | → deleting: delete                | → deleting: delete                | → unmanaging: disown | → extending: extend | → extending: extend     | ✓               | 400 input     | ✓
error_extending                    | ✓          | → deleting: delete                | → deleting: delete                | → unmanaging: disown | 400 status          | 400 status              | → available     | 400 input     | ✓
error_extending: server            | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | ✓: unexport R-85
error_deleting                     | ✓          | 400 status                        | → deleting: delete                | 400 status           | 400 status          | 400 status              | → available     | 400 input     | ✓
error_managing: not adopted        | ✓          | → error_managing_deleting: disown | → error_managing_deleting: disown | → unmanaging: disown | 400 status          | 400 status              | → available     | 400 input     | ✓
error_unmanaging: not let go       | ✓          | 400 status                        | → deleting: delete                | 400 status           | 400 status          | 400 status              | → available     | 400 input     | ✓
attaching: marked                  | ✓          | 400 status                        | → deleting: delete                | 400 status           | 400 status          | 400 status              | → available     | 400 input     | → available
attaching: marked, server, multi   | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | → available: unexport R-85
detaching: marked, row             | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | → available: unexport R-85
detaching: marked, server          | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | → available: unexport R-85
available: a connected             | ✓          | 400 status differences            | → deleting: unexport              | 400 status           | → extending: extend | → extending: extend     | ✓               | 400 input     | ✓: unexport R-85
in-use: attached a                 | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | → extending: extend     | → available     | ✓             | → available
in-use: attached a, connected      | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | → extending: extend     | → available     | ✓             | → available: unexport R-85
in-use: detach a failed            | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | → extending: extend     | → available     | ✓             | → available: unexport R-85
available: never placed            | ✓          | → gone                            | → gone                            | → gone               | → extending: extend | → extending: extend     | ✓               | 400 input     | ✓
downloading                        | ✓          | 400 status                        | → deleting: delete                | 400 status           | 400 status          | 400 status              | → available     | 400 input     | ✓
maintenance                        | 400 status | 400 status                        | → deleting: delete                | 400 status           | 400 status          | 400 status              | → available     | 400 input     | ✓
managing                           | ✓          | 400 status                        | → error_managing_deleting: disown | 400 status           | 400 status          | 400 status              | → available     | 400 input     | ✓
error_managing                     | ✓          | → error_managing_deleting: disown | → error_managing_deleting: disown | → unmanaging: disown | 400 status          | 400 status              | → available     | 400 input     | ✓
error: no work                     | ✓          | → deleting: delete                | → deleting: delete                | → unmanaging: disown | 400 status          | 400 status              | → available     | 400 input     | ✓
error_restoring                    | ✓          | → deleting: delete                | → deleting: delete                | → unmanaging: disown | 400 status          | 400 status              | → available     | 400 input     | ✓
other errors                       | ✓          | 400 status                        | → deleting: delete                | 400 status           | 400 status          | 400 status              | → available     | 400 input     | ✓
reserved                           | ✓          | 400 status                        | → deleting: delete                | 400 status           | 400 status          | 400 status              | → available     | 400 input     | → available
attaching                          | ✓          | 400 status                        | → deleting: delete                | 400 status           | 400 status          | 400 status              | → available     | 400 input     | → available
detaching                          | ✓          | 400 status                        | → deleting: delete                | 400 status           | 400 status          | 400 status              | → available     | 400 input     | → available
other words                        | ✓          | 400 status                        | → deleting: delete                | 400 status           | 400 status          | 400 status              | → available     | 400 input     | ✓
in-use: row                        | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | → extending: extend     | → available     | ✓             | → available
available: server                  | ✓          | 400 status R-84                   | 400 status R-57                   | 400 status           | → extending: extend | → extending: extend     | ✓               | → in-use      | ✓: unexport R-85
reserved: server                   | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | → available: unexport R-85
attaching: server                  | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | → available: unexport R-85
detaching: server                  | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | → available: unexport R-85
error: server                      | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | ✓: unexport R-85
maintenance: server                | 400 status | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | ✓: unexport R-85
other words: server                | ✓          | 400 status                        | 400 status R-57                   | 400 status           | 400 status          | 400 status              | → available     | → in-use      | ✓: unexport R-85
";

/// Block Storage's attachments: for the row's server `a` or another one, by a user or a service.
pub const ATTACHMENTS: &str = "
situation                          | create for b           | create for a           | create connected, b    | update      | update, service    | complete        | delete                | delete, service
available                          | → reserved             | → reserved             | → reserved: export     | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
available, multiattach             | → reserved             | → reserved             | → reserved: export     | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
reserved: row                      | 400 status R-01        | ✓ R-02                 | 400 status             | ✓: export   | ✓: export          | → in-use        | → available R-08      | → available
reserved: row, multiattach         | ✓ R-21                 | ✓                      | ✓: export R-21         | ✓: export   | ✓: export          | → in-use        | → available           | → available
attaching: row connected           | 400 status             | 400 status             | 400 status             | ✓: export   | ✓: export          | → in-use        | ✓: unexport           | ✓: unexport
attaching: two rows, one connected | 400 status             | 400 status             | 400 status             | 409 R-10    | 409 R-10           | → in-use        | ✓                     | ✓
in-use: row complete               | 400 status             | ✓ R-02                 | 400 status             | ✓: export   | ✓: export          | served R-14     | ✓: unexport           | ✓: unexport
in-use: server                     | 400 status             | ✓ R-02                 | 400 status             | 409 server  | ✓: export          | served R-14     | 409 server R-40       | ✓: unexport
in-use: server, multiattach        | ✓ R-21                 | ✓                      | ✓: export R-22         | 409 server  | ✓: export          | served R-14     | 409 server R-40       | ✓: unexport
in-use: shelved server, flagged    | 400 status             | ✓ R-02                 | 400 status             | 409 server  | ✓: export          | served R-14     | → available           | → available
reserved: attach in doubt          | 400 status             | ✓ R-02                 | 400 status             | 409 server  | ✓: drain R-83      | 400 status      | ✓: drain R-83         | ✓: drain R-83
available: attach failed           | → reserved             | → reserved             | → reserved: export     | 409 server  | → reserved: export | 400 status      | ✓                     | ✓
in-use: detach in doubt            | 400 status             | ✓ R-02                 | 400 status             | 409 server  | ✓: drain R-83      | 400 status      | 409 server R-40       | ✓: drain R-42
available: snapshot                | → reserved             | → reserved             | → reserved: export     | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
available: snapshot in error       | → reserved             | → reserved             | → reserved: export     | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
in-use: server, snapshot           | 400 status             | ✓                      | 400 status             | 409 server  | ✓: export          | served          | 409 server            | ✓: unexport
error                              | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
error: never placed                | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
available: from an image           | → reserved             | → reserved             | → reserved: export     | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
error_extending                    | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
error_extending: server            | 400 status             | 400 status             | 400 status             | 409 server  | 409                | 400 status R-13 | 409 server R-40       | ✓: unexport
error_deleting                     | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
error_managing: not adopted        | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
error_unmanaging: not let go       | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
attaching: marked                  | 400 status R-03        | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
attaching: marked, server, multi   | ✓                      | ✓                      | ✓: export              | 409 server  | ✓: export          | served          | 409 server R-40       | ✓: unexport
detaching: marked, row             | 400 status             | 400 status             | 400 status             | ✓: export   | ✓: export          | served          | ✓: unexport R-30      | ✓: unexport
detaching: marked, server          | 400 status             | 400 status             | 400 status             | 409 server  | ✓: export          | served          | 409 server R-40       | ✓: unexport
available: a connected             | → reserved             | → reserved             | 400 status differences | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
in-use: attached a                 | 400 status             | ✓                      | 400 status             | ✓: export   | ✓: export          | served          | → available           | → available
in-use: attached a, connected      | 400 status             | ✓                      | 400 status             | ✓: export   | ✓: export          | served          | → available: unexport | → available: unexport
in-use: detach a failed            | 400 status             | ✓                      | 400 status             | ✓: unexport | ✓: unexport        | 400 status      | ✓: unexport           | ✓: unexport
available: never placed            | 400 status differences | 400 status differences | 400 status differences | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
downloading                        | ✓ R-20                 | ✓ R-20                 | ✓: export R-20         | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
maintenance                        | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
managing                           | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
error_managing                     | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
error: no work                     | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
error_restoring                    | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
other errors                       | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
reserved                           | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
attaching                          | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
detaching                          | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
other words                        | 400 status             | 400 status             | 400 status             | 404 row     | 404 row            | 404 row         | 404 row               | 404 row
in-use: row                        | 400 status             | → reserved R-86        | 400 status             | ✓: export   | ✓: export          | ✓               | → available           | → available
available: server                  | 400 status R-84        | 400 status R-84        | 400 status R-84        | 409 server  | ✓: export          | → in-use        | 409 server R-40       | ✓: unexport
reserved: server                   | 400 status             | → in-use               | 400 status             | 409 server  | ✓: export          | → in-use        | 409 server R-40       | ✓: unexport
attaching: server                  | 400 status             | 400 status             | 400 status             | 409 server  | ✓: export          | → in-use        | 409 server R-40       | ✓: unexport
detaching: server                  | 400 status             | 400 status             | 400 status             | 409 server  | ✓: export          | → in-use        | 409 server R-40       | ✓: unexport
error: server                      | 400 status             | 400 status             | 400 status             | 409 server  | 409                | 400 status R-13 | 409 server R-40       | ✓: unexport
maintenance: server                | 400 status             | 400 status             | 400 status             | 409 server  | ✓: export          | served          | 409 server R-40       | ✓: unexport
other words: server                | 400 status             | 400 status             | 400 status             | 409 server  | ✓: export          | served          | 409 server R-40       | ✓: unexport
";

/// The old actions: they mark the volume, and end the mark.
pub const OLD_ACTIONS: &str = "
situation                          | reserve                | unreserve               | begin detaching | roll detaching          | os-attach a            | os-attach b     | detach           | detach, service | initialize a | initialize b           | terminate a     | force detach
available                          | → attaching            | served                  | 400 status      | served R-36             | → in-use               | → in-use        | served           | served          | ✓: export    | ✓: export              | served          | served
available, multiattach             | → attaching            | served                  | 400 status      | served                  | → in-use               | → in-use        | served           | served          | ✓: export    | ✓: export              | served          | served
reserved: row                      | 400 status R-03        | served                  | 400 status      | served                  | 400 status R-06        | 400 status      | → available      | → available     | ✓: export    | ✓: export              | served          | → available
reserved: row, multiattach         | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | → available      | → available     | ✓: export    | ✓: export              | served          | → available
attaching: row connected           | 400 status             | served R-88             | 400 status      | served                  | → in-use               | 400 status      | ✓: unexport      | ✓: unexport     | ✓: export    | 400 status             | served          | ✓: unexport
attaching: two rows, one connected | 400 status             | served                  | 400 status      | served                  | → in-use               | 400 status      | 409 R-33         | 400 status R-33 | 400 status   | ✓: export              | 409             | 409 R-39
in-use: row complete               | 400 status             | served                  | → detaching     | served                  | served                 | 400 status      | ✓: unexport      | ✓: unexport     | ✓: export    | 400 status             | served          | ✓: unexport
in-use: server                     | 400 status             | served                  | → detaching     | served                  | served                 | 400 status      | 409 server R-40  | ✓: unexport     | ✓: export    | 400 status             | 409 server R-40 | 409 server R-40
in-use: server, multiattach        | → attaching            | served                  | → detaching     | served                  | served                 | ✓               | 409 server       | ✓: unexport     | ✓: export    | ✓: export              | 409 server      | 409 server
in-use: shelved server, flagged    | 400 status             | served                  | → detaching     | served                  | served                 | 400 status      | → available      | → available     | ✓: export    | ✓: export              | served          | → available
reserved: attach in doubt          | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | ✓: drain         | ✓: drain        | 400 status   | 400 status             | served          | ✓: drain
available: attach failed           | → attaching            | served                  | 400 status      | served                  | 400 status             | → in-use        | ✓                | ✓               | ✓: export    | ✓: export              | served          | ✓
in-use: detach in doubt            | 400 status             | served                  | → detaching     | served                  | 400 status             | 400 status      | 409 server       | ✓: drain        | ✓: drain     | 400 status             | 409 server      | 409 server
available: snapshot                | → attaching            | served                  | 400 status      | served                  | → in-use               | → in-use        | served           | served          | ✓: export    | ✓: export              | served          | served
available: snapshot in error       | → attaching            | served                  | 400 status      | served                  | → in-use               | → in-use        | served           | served          | ✓: export    | ✓: export              | served          | served
in-use: server, snapshot           | 400 status             | served                  | → detaching     | served                  | served                 | 400 status      | 409 server       | ✓: unexport     | ✓: export    | 400 status             | 409 server      | 409 server
error                              | 400 status             | served                  | 400 status      | served                  | 400 status differences | 400 status      | served R-34      | served          | ✓: export    | ✓: export              | served          | served
error: never placed                | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | 400 status   | 400 status             | served          | served
available: from an image           | → attaching            | served                  | 400 status      | served                  | → in-use               | → in-use        | served           | served          | ✓: export    | ✓: export              | served          | served
error_extending                    | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | ✓: export    | ✓: export              | served          | served
error_extending: server            | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | 409 server       | ✓: unexport     | ✓: export    | 400 status             | 409 server      | 409 server
error_deleting                     | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | ✓: export    | ✓: export              | served          | served
error_managing: not adopted        | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | ✓: export    | ✓: export              | served          | served
error_unmanaging: not let go       | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | ✓: export    | ✓: export              | served          | served
attaching: marked                  | 400 status R-03        | → available             | 400 status      | served                  | → in-use R-04          | → in-use        | → available      | → available     | ✓: export    | ✓: export              | → available     | → available
attaching: marked, server, multi   | 400 status             | → in-use                | 400 status      | served                  | served                 | → in-use        | 409 server       | ✓: unexport     | ✓: export    | ✓: export              | 409 server      | 409 server
detaching: marked, row             | 400 status             | served                  | 400 status R-35 | → in-use R-30           | 400 status R-06        | 400 status      | ✓: unexport      | ✓: unexport     | ✓: export    | 400 status             | served          | ✓: unexport
detaching: marked, server          | 400 status             | served                  | 400 status      | → in-use                | 400 status             | 400 status      | 409 server       | ✓: unexport     | ✓: export    | 400 status             | 409 server      | 409 server
available: a connected             | → attaching            | served                  | 400 status      | served                  | → in-use               | → in-use        | served           | served          | ✓: export    | 400 status differences | ✓: unexport     | ✓: unexport
in-use: attached a                 | 400 status             | served                  | → detaching     | served                  | served R-06            | 400 status R-05 | → available      | → available     | ✓: export    | ✓: export              | served          | → available
in-use: attached a, connected      | 400 status             | served                  | → detaching     | served                  | served                 | 400 status      | ✓: unexport      | ✓: unexport     | ✓: export    | 400 status differences | ✓: unexport     | ✓: unexport
in-use: detach a failed            | 400 status             | served                  | → detaching     | served                  | 400 status             | 400 status      | ✓: unexport R-42 | ✓: unexport     | 400 status   | 400 status             | served          | ✓: unexport
available: never placed            | 400 status differences | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | 400 status   | 400 status             | served          | served
downloading                        | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | ✓: export    | ✓: export              | served          | served
maintenance                        | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | 400 status       | 400 status      | 400 status   | 400 status             | served          | 400 status
managing                           | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | ✓: export    | ✓: export              | served          | served
error_managing                     | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | ✓: export    | ✓: export              | served          | served
error: no work                     | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | ✓: export    | ✓: export              | served          | served
error_restoring                    | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | ✓: export    | ✓: export              | served          | served
other errors                       | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served           | served          | ✓: export    | ✓: export              | served          | served
reserved                           | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | → available      | → available     | ✓: export    | ✓: export              | served          | → available
attaching                          | 400 status             | → available differences | 400 status      | served                  | → in-use               | → in-use        | → available R-34 | → available     | ✓: export    | ✓: export              | → available     | → available
detaching                          | 400 status             | served                  | 400 status      | → available differences | 400 status             | 400 status      | → available      | → available     | ✓: export    | ✓: export              | served          | → available
other words                        | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | served R-34      | served          | ✓: export    | ✓: export              | served          | served
in-use: row                        | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | → available      | → available     | ✓: export    | ✓: export              | served          | → available
available: server                  | 400 status R-84        | served                  | 400 status      | served                  | 400 status             | 400 status      | 409 server       | ✓: unexport     | ✓: export    | 400 status             | 409 server      | 409 server
reserved: server                   | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | 409 server       | ✓: unexport     | ✓: export    | 400 status             | 409 server      | 409 server
attaching: server                  | 400 status             | → in-use                | 400 status      | served                  | → in-use               | 400 status      | 409 server       | ✓: unexport     | ✓: export    | 400 status             | 409 server      | 409 server
detaching: server                  | 400 status             | served                  | 400 status      | → in-use                | 400 status             | 400 status      | 409 server       | ✓: unexport     | ✓: export    | 400 status             | 409 server      | 409 server
error: server                      | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | 409 server       | ✓: unexport     | ✓: export    | 400 status             | 409 server      | 409 server
maintenance: server                | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | 409 server       | 400 status      | 400 status   | 400 status             | 409 server      | 409 server
other words: server                | 400 status             | served                  | 400 status      | served                  | 400 status             | 400 status      | 409 server       | ✓: unexport     | ✓: export    | 400 status             | 409 server      | 409 server
";

/// Compute's attachments.
pub const COMPUTE: &str = "
situation                          | attach b               | attach a               | detach a                 | a is gone                | flag of a
available                          | → reserved: export     | → reserved: export     | 404 not attached         | 404 not attached         | 404 not attached
available, multiattach             | → reserved: export     | → reserved: export     | 404 not attached         | 404 not attached         | 404 not attached
reserved: row                      | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
reserved: row, multiattach         | ✓: export R-21         | ✓: export              | 404 not attached         | 404 not attached         | 404 not attached
attaching: row connected           | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
attaching: two rows, one connected | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
in-use: row complete               | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
in-use: server                     | 400 status             | 400 status R-02        | → detaching: unplug      | → detaching: unplug      | ✓
in-use: server, multiattach        | ✓: export R-21         | 400 status R-02        | → detaching: unplug      | → detaching: unplug      | ✓
in-use: shelved server, flagged    | 400 status             | 400 status             | → deleting: delete R-112 | → deleting: delete R-112 | served
reserved: attach in doubt          | 400 status             | 400 status             | ✓: drain R-83            | ✓: drain R-83            | ✓
available: attach failed           | 400 status             | 400 status             | ✓                        | ✓                        | ✓
in-use: detach in doubt            | 400 status             | 400 status             | ✓: drain R-42            | ✓: drain R-42            | ✓
available: snapshot                | → reserved: export     | → reserved: export     | 404 not attached         | 404 not attached         | 404 not attached
available: snapshot in error       | → reserved: export     | → reserved: export     | 404 not attached         | 404 not attached         | 404 not attached
in-use: server, snapshot           | 400 status             | 400 status             | → detaching: unplug      | → detaching: unplug      | ✓
error                              | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
error: never placed                | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
available: from an image           | → reserved: export     | → reserved: export     | 404 not attached         | 404 not attached         | 404 not attached
error_extending                    | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
error_extending: server            | 400 status             | 400 status             | ✓: unplug differences    | ✓: unplug                | ✓
error_deleting                     | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
error_managing: not adopted        | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
error_unmanaging: not let go       | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
attaching: marked                  | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
attaching: marked, server, multi   | ✓: export              | 400 status             | → detaching: unplug R-22 | → detaching: unplug      | ✓
detaching: marked, row             | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
detaching: marked, server          | 400 status             | 400 status             | 400 status               | ✓: unplug                | ✓
available: a connected             | 400 status             | 400 status differences | 404 not attached         | 404 not attached         | 404 not attached
in-use: attached a                 | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
in-use: attached a, connected      | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
in-use: detach a failed            | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
available: never placed            | 400 status differences | 400 status differences | 404 not attached         | 404 not attached         | 404 not attached
downloading                        | ✓: export R-20         | ✓: export R-20         | 404 not attached         | 404 not attached         | 404 not attached
maintenance                        | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
managing                           | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
error_managing                     | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
error: no work                     | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
error_restoring                    | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
other errors                       | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
reserved                           | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
attaching                          | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
detaching                          | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
other words                        | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
in-use: row                        | 400 status             | 400 status             | 404 not attached         | 404 not attached         | 404 not attached
available: server                  | 400 status R-84        | 400 status             | 400 status               | → detaching: unplug      | ✓
reserved: server                   | 400 status             | 400 status             | 400 status               | → detaching: unplug      | ✓
attaching: server                  | 400 status             | 400 status             | 400 status               | → detaching: unplug      | ✓
detaching: server                  | 400 status             | 400 status             | 400 status               | ✓: unplug                | ✓
error: server                      | 400 status             | 400 status             | 400 status               | ✓: unplug                | ✓
maintenance: server                | 400 status             | 400 status             | 400 status               | ✓: unplug                | ✓
other words: server                | 400 status             | 400 status             | 400 status               | ✓: unplug                | ✓
";

/// Its snapshots: the first one is deleted, the last one is reverted to.
pub const SNAPSHOTS: &str = "
situation                          | snapshot < 3.66    | snapshot           | revert              | delete snapshot    | force delete snapshot | manage snapshot   | unmanage snapshot  | cascade                           | force cascade
available                          | ✓: create_snapshot | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | → deleting: delete                | → deleting: delete
available, multiattach             | ✓: create_snapshot | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | → deleting: delete                | → deleting: delete
reserved: row                      | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
reserved: row, multiattach         | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
attaching: row connected           | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
attaching: two rows, one connected | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
in-use: row complete               | 400 status         | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | 400 status                        | 400 status
in-use: server                     | 400 status         | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | 400 status                        | 400 status
in-use: server, multiattach        | 400 status         | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | 400 status                        | 400 status
in-use: shelved server, flagged    | 400 status         | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | 400 status                        | 400 status
reserved: attach in doubt          | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
available: attach failed           | ✓: create_snapshot | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | → deleting: delete                | → deleting: delete
in-use: detach in doubt            | 400 status         | ✓: drain           | 400                 | 404 snapshot       | 404 snapshot          | ✓: drain          | 404 snapshot       | 400 status                        | 400 status
available: snapshot                | ✓: create_snapshot | ✓: create_snapshot | → reverting: revert | ✓: delete_snapshot | ✓: delete_snapshot    | ✓: adopt_snapshot | ✓: disown_snapshot | → deleting: delete_snapshot       | → deleting: delete_snapshot
available: snapshot in error       | ✓: create_snapshot | ✓: create_snapshot | 409                 | ✓: delete_snapshot | ✓: delete_snapshot    | ✓: adopt_snapshot | ✓: disown_snapshot | → deleting: delete_snapshot       | → deleting: delete_snapshot
in-use: server, snapshot           | 400 status         | ✓: create_snapshot | 409                 | ✓: delete_snapshot | ✓: delete_snapshot    | ✓: adopt_snapshot | ✓: disown_snapshot | 400 status                        | 400 status
error                              | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | → deleting: delete                | → deleting: delete
error: never placed                | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | → gone                            | → gone
available: from an image           | ✓: create_snapshot | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | → deleting: delete                | → deleting: delete
error_extending                    | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | → deleting: delete                | → deleting: delete
error_extending: server            | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
error_deleting                     | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | → deleting: delete
error_managing: not adopted        | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | → error_managing_deleting: disown | → error_managing_deleting: disown
error_unmanaging: not let go       | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | → deleting: delete
attaching: marked                  | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | → deleting: delete
attaching: marked, server, multi   | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
detaching: marked, row             | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
detaching: marked, server          | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
available: a connected             | ✓: create_snapshot | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | 400 status                        | → deleting: unexport
in-use: attached a                 | 400 status         | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | 400 status                        | 400 status
in-use: attached a, connected      | 400 status         | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | 400 status                        | 400 status
in-use: detach a failed            | 400 status         | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | 400 status                        | 400 status
available: never placed            | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | → gone                            | → gone
downloading                        | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | → deleting: delete
maintenance                        | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | → deleting: delete
managing                           | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | → error_managing_deleting: disown
error_managing                     | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | → error_managing_deleting: disown | → error_managing_deleting: disown
error: no work                     | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | → deleting: delete                | → deleting: delete
error_restoring                    | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | → deleting: delete                | → deleting: delete
other errors                       | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | → deleting: delete
reserved                           | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | → deleting: delete
attaching                          | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | → deleting: delete
detaching                          | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | → deleting: delete
other words                        | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | → deleting: delete
in-use: row                        | 400 status         | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | 400 status                        | 400 status
available: server                  | ✓: create_snapshot | ✓: create_snapshot | 400                 | 404 snapshot       | 404 snapshot          | ✓: adopt_snapshot | 404 snapshot       | 400 status                        | 400 status
reserved: server                   | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
attaching: server                  | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
detaching: server                  | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
error: server                      | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
maintenance: server                | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
other words: server                | 400 status         | 400 status         | 400                 | 404 snapshot       | 404 snapshot          | 400 status        | 404 snapshot       | 400 status                        | 400 status
";

/// Migrations, and changes of the type that need one.
pub const MOVES: &str = "
situation                          | migrate    | migrate, locked       | retype             | complete migration | call off
available                          | ✓: survey  | → maintenance: survey | → retyping: survey | served             | served
available, multiattach             | ✓: survey  | → maintenance: survey | → retyping: survey | served             | served
reserved: row                      | 400 status | 400 status            | 400 status         | served             | served
reserved: row, multiattach         | 400 status | 400 status            | 400 input          | served             | served
attaching: row connected           | 400 status | 400 status            | 400 status         | served             | served
attaching: two rows, one connected | 400 status | 400 status            | 400 status         | served             | served
in-use: row complete               | ✓          | ✓                     | ✓                  | served             | served
in-use: server                     | ✓: survey  | ✓: survey             | → retyping: survey | served             | served
in-use: server, multiattach        | ✓: survey  | ✓: survey             | 400 input          | served             | served
in-use: shelved server, flagged    | ✓          | ✓                     | ✓                  | served             | served
reserved: attach in doubt          | 400 status | 400 status            | 400 status         | served             | served
available: attach failed           | ✓: survey  | → maintenance: survey | → retyping: survey | served             | served
in-use: detach in doubt            | ✓          | ✓                     | ✓                  | served             | served
available: snapshot                | 400 status | 400 status            | ✓                  | served             | served
available: snapshot in error       | 400 status | 400 status            | ✓                  | served             | served
in-use: server, snapshot           | 400 status | 400 status            | ✓                  | served             | served
error                              | 400 status | 400 status            | 400 status         | served             | served
error: never placed                | 400 status | 400 status            | 400 status         | served             | served
available: from an image           | ✓: survey  | → maintenance: survey | → retyping: survey | served             | served
error_extending                    | 400 status | 400 status            | 400 status         | served             | served
error_extending: server            | 400 status | 400 status            | 400 status         | served             | served
error_deleting                     | 400 status | 400 status            | 400 status         | served             | served
error_managing: not adopted        | 400 status | 400 status            | 400 status         | served             | served
error_unmanaging: not let go       | 400 status | 400 status            | 400 status         | served             | served
attaching: marked                  | 400 status | 400 status            | 400 status         | served             | served
attaching: marked, server, multi   | 400 status | 400 status            | 400 input          | served             | served
detaching: marked, row             | 400 status | 400 status            | 400 status         | served             | served
detaching: marked, server          | 400 status | 400 status            | 400 status         | served             | served
available: a connected             | 400 status | 400 status            | 400 status         | served             | served
in-use: attached a                 | ✓          | ✓                     | ✓                  | served             | served
in-use: attached a, connected      | 400 status | 400 status            | 400 status         | served             | served
in-use: detach a failed            | ✓          | ✓                     | ✓                  | served             | served
available: never placed            | 400 status | 400 status            | 400 status         | served             | served
downloading                        | 400 status | 400 status            | 400 status         | served             | served
maintenance                        | 400 status | 400 status            | 400 status         | served             | served
managing                           | 400 status | 400 status            | 400 status         | served             | served
error_managing                     | 400 status | 400 status            | 400 status         | served             | served
error: no work                     | 400 status | 400 status            | 400 status         | served             | served
error_restoring                    | 400 status | 400 status            | 400 status         | served             | served
other errors                       | 400 status | 400 status            | 400 status         | served             | served
reserved                           | 400 status | 400 status            | 400 status         | served             | served
attaching                          | 400 status | 400 status            | 400 status         | served             | served
detaching                          | 400 status | 400 status            | 400 status         | served             | served
other words                        | 400 status | 400 status            | 400 status         | served             | served
in-use: row                        | ✓          | ✓                     | ✓                  | served             | served
available: server                  | 400 status | 400 status            | 400 status         | served             | served
reserved: server                   | 400 status | 400 status            | 400 status         | served             | served
attaching: server                  | 400 status | 400 status            | 400 status         | served             | served
detaching: server                  | 400 status | 400 status            | 400 status         | served             | served
error: server                      | 400 status | 400 status            | 400 status         | served             | served
maintenance: server                | 400 status | 400 status            | 400 status         | served             | served
other words: server                | 400 status | 400 status            | 400 status         | served             | served
";

/// Images: the contents of one in the place of its own, and one that is made of it.
pub const IMAGES: &str = "
situation                          | reimage                | reimage, reserved      | upload                    | upload, force
available                          | → downloading: reimage | → downloading: reimage | → uploading: create_image | → uploading: create_image
available, multiattach             | → downloading: reimage | → downloading: reimage | → uploading: create_image | → uploading: create_image
reserved: row                      | 400 status             | → downloading: reimage | 400 status                | 400 status
reserved: row, multiattach         | 400 status             | → downloading: reimage | 400 status                | 400 status
attaching: row connected           | 400 status             | 400 status             | 400 status                | 400 status
attaching: two rows, one connected | 409                    | 409                    | 400 status                | 400 status
in-use: row complete               | 400 status             | 400 status             | 400 status                | → uploading: create_image
in-use: server                     | 400 status             | 400 status             | 400 status                | → uploading: create_image
in-use: server, multiattach        | 400 status             | 400 status             | 400 status                | → uploading: create_image
in-use: shelved server, flagged    | 400 status             | 400 status             | 400 status                | → uploading: create_image
reserved: attach in doubt          | 400 status             | 400 status             | 400 status                | 400 status
available: attach failed           | → downloading: reimage | → downloading: reimage | → uploading: create_image | → uploading: create_image
in-use: detach in doubt            | 400 status             | 400 status             | 400 status                | → uploading: drain
available: snapshot                | → downloading: reimage | → downloading: reimage | → uploading: create_image | → uploading: create_image
available: snapshot in error       | → downloading: reimage | → downloading: reimage | → uploading: create_image | → uploading: create_image
in-use: server, snapshot           | 400 status             | 400 status             | 400 status                | → uploading: create_image
error                              | → downloading: reimage | → downloading: reimage | 400 status                | 400 status
error: never placed                | 400 status             | 400 status             | 400 status                | 400 status
available: from an image           | → downloading: reimage | → downloading: reimage | → uploading: create_image | → uploading: create_image
error_extending                    | 400 status             | 400 status             | 400 status                | 400 status
error_extending: server            | 400 status             | 400 status             | 400 status                | 400 status
error_deleting                     | 400 status             | 400 status             | 400 status                | 400 status
error_managing: not adopted        | 400 status             | 400 status             | 400 status                | 400 status
error_unmanaging: not let go       | 400 status             | 400 status             | 400 status                | 400 status
attaching: marked                  | 400 status             | 400 status             | 400 status                | 400 status
attaching: marked, server, multi   | 400 status             | 400 status             | 400 status                | 400 status
detaching: marked, row             | 400 status             | 400 status             | 400 status                | 400 status
detaching: marked, server          | 400 status             | 400 status             | 400 status                | 400 status
available: a connected             | 400 status             | 400 status             | → uploading: create_image | → uploading: create_image
in-use: attached a                 | 400 status             | 400 status             | 400 status                | → uploading: create_image
in-use: attached a, connected      | 400 status             | 400 status             | 400 status                | → uploading: create_image
in-use: detach a failed            | 400 status             | 400 status             | 400 status                | → uploading: create_image
available: never placed            | 400 status             | 400 status             | 400 status                | 400 status
downloading                        | 400 status             | 400 status             | 400 status                | 400 status
maintenance                        | 400 status             | 400 status             | 400 status                | 400 status
managing                           | 400 status             | 400 status             | 400 status                | 400 status
error_managing                     | 400 status             | 400 status             | 400 status                | 400 status
error: no work                     | → downloading: reimage | → downloading: reimage | 400 status                | 400 status
error_restoring                    | 400 status             | 400 status             | 400 status                | 400 status
other errors                       | 400 status             | 400 status             | 400 status                | 400 status
reserved                           | 400 status             | → downloading: reimage | 400 status                | 400 status
attaching                          | 400 status             | 400 status             | 400 status                | 400 status
detaching                          | 400 status             | 400 status             | 400 status                | 400 status
other words                        | 400 status             | 400 status             | 400 status                | 400 status
in-use: row                        | 400 status             | 400 status             | 400 status                | → uploading: create_image
available: server                  | 400 status             | 400 status             | → uploading: create_image | → uploading: create_image
reserved: server                   | 400 status             | 400 status             | 400 status                | 400 status
attaching: server                  | 400 status             | 400 status             | 400 status                | 400 status
detaching: server                  | 400 status             | 400 status             | 400 status                | 400 status
error: server                      | 400 status             | 400 status             | 400 status                | 400 status
maintenance: server                | 400 status             | 400 status             | 400 status                | 400 status
other words: server                | 400 status             | 400 status             | 400 status                | 400 status
";

/// Compute's swap.
pub const SWAPS: &str = "
situation                          | come to a         | call off | leave a              | a has moved | a stays
available                          | → reserved: yield | served   | 400 status           | served      | served
available, multiattach             | → reserved: yield | served   | 400 status           | served      | served
reserved: row                      | 400 status        | served   | 400 status           | served      | served
reserved: row, multiattach         | 400 status        | served   | 400 status           | served      | served
attaching: row connected           | 400 status        | served   | 400 status           | served      | served
attaching: two rows, one connected | 400 status        | served   | 400 status           | served      | served
in-use: row complete               | 400 status        | served   | 404 not attached     | served      | served
in-use: server                     | 400 status        | served   | → detaching: yielded | served      | served
in-use: server, multiattach        | 400 status        | served   | → detaching: yielded | served      | served
in-use: shelved server, flagged    | 400 status        | served   | 400 status           | served      | served
reserved: attach in doubt          | 400 status        | served   | 400 status           | served      | served
available: attach failed           | 400 status        | served   | 400 status           | served      | served
in-use: detach in doubt            | 400 status        | served   | 400 status           | served      | served
available: snapshot                | → reserved: yield | served   | 400 status           | served      | served
available: snapshot in error       | → reserved: yield | served   | 400 status           | served      | served
in-use: server, snapshot           | 400 status        | served   | → detaching: yielded | served      | served
error                              | 400 status        | served   | 400 status           | served      | served
error: never placed                | 400 status        | served   | 400 status           | served      | served
available: from an image           | → reserved: yield | served   | 400 status           | served      | served
error_extending                    | 400 status        | served   | 400 status           | served      | served
error_extending: server            | 400 status        | served   | 400 status           | served      | served
error_deleting                     | 400 status        | served   | 400 status           | served      | served
error_managing: not adopted        | 400 status        | served   | 400 status           | served      | served
error_unmanaging: not let go       | 400 status        | served   | 400 status           | served      | served
attaching: marked                  | 400 status        | served   | 400 status           | served      | served
attaching: marked, server, multi   | 400 status        | served   | 400 status           | served      | served
detaching: marked, row             | 400 status        | served   | 400 status           | served      | served
detaching: marked, server          | 400 status        | served   | 400 status           | served      | served
available: a connected             | 400 status        | served   | 400 status           | served      | served
in-use: attached a                 | 400 status        | served   | 404 not attached     | served      | served
in-use: attached a, connected      | 400 status        | served   | 404 not attached     | served      | served
in-use: detach a failed            | 400 status        | served   | 404 not attached     | served      | served
available: never placed            | 400 status        | served   | 400 status           | served      | served
downloading                        | 400 status        | served   | 400 status           | served      | served
maintenance                        | 400 status        | served   | 400 status           | served      | served
managing                           | 400 status        | served   | 400 status           | served      | served
error_managing                     | 400 status        | served   | 400 status           | served      | served
error: no work                     | 400 status        | served   | 400 status           | served      | served
error_restoring                    | 400 status        | served   | 400 status           | served      | served
other errors                       | 400 status        | served   | 400 status           | served      | served
reserved                           | 400 status        | served   | 400 status           | served      | served
attaching                          | 400 status        | served   | 400 status           | served      | served
detaching                          | 400 status        | served   | 400 status           | served      | served
other words                        | 400 status        | served   | 400 status           | served      | served
in-use: row                        | 400 status        | served   | 400 status           | served      | served
available: server                  | 400 status        | served   | 400 status           | served      | served
reserved: server                   | 400 status        | served   | 400 status           | served      | served
attaching: server                  | 400 status        | served   | 400 status           | served      | served
detaching: server                  | 400 status        | served   | 400 status           | served      | served
error: server                      | 400 status        | served   | 400 status           | served      | served
maintenance: server                | 400 status        | served   | 400 status           | served      | served
other words: server                | 400 status        | served   | 400 status           | served      | served
";
