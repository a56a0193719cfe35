//! The conflict matrix (`spec/races.md` §4): what may come while an operation is under way, and how the volume ends when all
//! calls go well. Written by hand; the first cell says how it ends when nothing comes.

/// The volume's own verbs.
pub const VERBS: &str = "
situation                                            | update             | delete          | force delete       | extend < 3.42      | extend                  | reset available         | reset in-use       | reset detached
creating ⇒ available                                 | beside ⇒ available | 400 status R-60 | fences ⇒ gone      | 400 status         | 400 status              | fences ⇒ available      | 400 input          | fences ⇒ error
reserved: server, export ⇒ in-use                    | beside ⇒ in-use    | 400 status R-15 | 400 status R-57    | 400 status R-16    | 400 status              | fences ⇒ reserved       | fences ⇒ reserved  | fences ⇒ available R-85
attaching: server, plug ⇒ in-use                     | beside ⇒ in-use    | 400 status      | 400 status R-57    | 400 status         | 400 status              | fences ⇒ available      | fences ⇒ in-use    | fences ⇒ available R-85
in-use: server c of two, export ⇒ in-use             | beside ⇒ in-use    | 400 status      | 400 status R-57    | 400 status         | beside ⇒ in-use R-22    | fences ⇒ in-use         | fences ⇒ in-use    | fences ⇒ available R-85
reserved: row, update ⇒ attaching                    | beside ⇒ attaching | 400 status      | 400 status R-57    | 400 status         | 400 status              | fences ⇒ reserved       | fences ⇒ reserved  | fences ⇒ available R-85
reserved: two rows, update of the second ⇒ attaching | beside ⇒ attaching | 400 status      | 400 status R-57    | 400 status         | 400 status              | fences ⇒ reserved       | fences ⇒ reserved  | fences ⇒ available R-85
reserved: row, create connected ⇒ attaching          | beside ⇒ attaching | 400 status      | 400 status R-57    | 400 status         | 400 status              | fences ⇒ reserved       | fences ⇒ reserved  | fences ⇒ available R-85
attaching: row, update to b ⇒ attaching              | beside ⇒ attaching | 400 status      | 400 status R-57    | 400 status         | 400 status              | fences ⇒ attaching      | fences ⇒ attaching | fences ⇒ available R-85
in-use: row, delete ⇒ available                      | beside ⇒ available | 400 status      | 400 status R-57    | 400 status         | beside ⇒ available R-31 | fences ⇒ in-use         | fences ⇒ in-use    | fences ⇒ available R-85
detaching: server, unplug ⇒ available                | beside ⇒ available | 400 status      | 400 status R-57    | 400 status         | 400 status R-31         | fences ⇒ available      | fences ⇒ in-use    | fences ⇒ available R-85
detaching: server, unexport ⇒ available              | beside ⇒ available | 400 status      | 400 status R-57    | 400 status         | 400 status R-31         | fences ⇒ in-use         | fences ⇒ in-use    | fences ⇒ available R-85
detaching: server of two, unplug ⇒ in-use            | beside ⇒ in-use    | 400 status      | 400 status R-57    | 400 status         | 400 status R-31         | fences ⇒ available      | fences ⇒ in-use    | fences ⇒ available R-85
detaching: server c of two, unplug ⇒ in-use          | beside ⇒ in-use    | 400 status      | 400 status R-57    | 400 status         | 400 status R-31         | fences ⇒ available      | fences ⇒ in-use    | fences ⇒ available R-85
extending ⇒ available                                | beside ⇒ available | 400 status      | fences ⇒ gone R-83 | 400 status R-45    | 400 status R-45         | fences ⇒ available R-83 | 400 input          | fences ⇒ available
extending: server ⇒ in-use                           | beside ⇒ in-use    | 400 status      | 400 status R-57    | 400 status         | 400 status R-45         | fences ⇒ in-use R-83    | fences ⇒ in-use    | fences ⇒ available R-85
deleting ⇒ gone                                      | beside ⇒ gone      | 400 status R-56 | served ⇒ gone R-89 | 400 status         | 400 status              | 400 status R-83         | 400 input          | 400 status R-83
available: repair ⇒ available                        | beside ⇒ available | fences ⇒ gone   | fences ⇒ gone      | beside ⇒ available | beside ⇒ available      | beside ⇒ available      | 400 input          | beside ⇒ available
";

/// Block Storage's attachments.
pub const ATTACHMENTS: &str = "
situation                                            | create for b         | create for a            | create connected, b    | update                          | update, service                 | complete                        | delete                          | delete, service
creating ⇒ available                                 | 400 status           | 400 status              | 400 status             | 404 row                         | 404 row                         | 404 row                         | 404 row                         | 404 row
reserved: server, export ⇒ in-use                    | 400 status R-01      | beside ⇒ in-use R-02    | 400 status             | 409 server                      | waits ⇒ attaching               | waits ⇒ in-use                  | waits ⇒ 409 server, in-use R-40 | waits ⇒ available
attaching: server, plug ⇒ in-use                     | 400 status           | 400 status              | 400 status             | 409 server                      | waits ⇒ attaching               | waits ⇒ in-use                  | 409 server R-40                 | waits ⇒ available
in-use: server c of two, export ⇒ in-use             | beside ⇒ in-use R-21 | beside ⇒ in-use         | waits ⇒ in-use R-22    | 409 server                      | waits ⇒ in-use                  | served ⇒ in-use                 | 409 server R-40                 | waits ⇒ in-use
reserved: row, update ⇒ attaching                    | 400 status           | beside ⇒ attaching R-02 | 400 status             | waits ⇒ attaching R-10          | waits ⇒ attaching               | waits ⇒ in-use                  | waits ⇒ available R-09          | waits ⇒ available R-09
reserved: two rows, update of the second ⇒ attaching | 400 status           | beside ⇒ attaching R-02 | 400 status             | waits ⇒ 409, attaching R-10     | waits ⇒ 409, attaching R-10     | beside ⇒ attaching              | beside ⇒ attaching              | beside ⇒ attaching
reserved: row, create connected ⇒ attaching          | 400 status           | beside ⇒ attaching R-02 | 400 status             | waits ⇒ attaching               | waits ⇒ attaching               | waits ⇒ in-use                  | waits ⇒ available               | waits ⇒ available
attaching: row, update to b ⇒ attaching              | 400 status           | 400 status              | 400 status             | waits ⇒ attaching R-10          | waits ⇒ attaching               | waits ⇒ in-use                  | waits ⇒ available               | waits ⇒ available
in-use: row, delete ⇒ available                      | 400 status           | beside ⇒ reserved       | 400 status             | waits ⇒ 404 row, available R-11 | waits ⇒ 404 row, available      | waits ⇒ 404 row, available R-12 | waits ⇒ 404 row, available      | waits ⇒ 404 row, available
detaching: server, unplug ⇒ available                | 400 status           | 400 status              | 400 status             | 409 server                      | waits ⇒ 404 row, available R-11 | waits ⇒ 404 row, available R-12 | 409 server R-40                 | waits ⇒ 404 row, available
detaching: server, unexport ⇒ available              | 400 status           | 400 status              | 400 status             | 409 server                      | waits ⇒ 404 row, available      | waits ⇒ 404 row, available      | 409 server R-40                 | waits ⇒ 404 row, available
detaching: server of two, unplug ⇒ in-use            | beside ⇒ in-use R-21 | beside ⇒ in-use         | waits ⇒ in-use         | 409 server                      | waits ⇒ 404 row, in-use         | waits ⇒ 404 row, in-use         | 409 server R-40                 | waits ⇒ 404 row, in-use
detaching: server c of two, unplug ⇒ in-use          | beside ⇒ in-use R-21 | beside ⇒ in-use         | waits ⇒ in-use         | 409 server                      | waits ⇒ attaching               | served ⇒ in-use                 | 409 server R-40                 | waits ⇒ available
extending ⇒ available                                | 400 status R-16      | 400 status              | 400 status             | 404 row                         | 404 row                         | 404 row                         | 404 row                         | 404 row
extending: server ⇒ in-use                           | 400 status           | 400 status              | 400 status             | 409 server                      | beside ⇒ attaching              | served ⇒ in-use                 | 409 server R-40                 | beside ⇒ available R-31
deleting ⇒ gone                                      | 400 status R-15      | 400 status              | 400 status             | 404 row                         | 404 row                         | 404 row                         | 404 row                         | 404 row
available: repair ⇒ available                        | beside ⇒ reserved    | beside ⇒ reserved       | waits ⇒ attaching R-43 | 404 row                         | 404 row                         | 404 row                         | 404 row                         | 404 row
";

/// The old actions.
pub const OLD_ACTIONS: &str = "
situation                                            | reserve            | unreserve               | begin detaching    | roll detaching
creating ⇒ available                                 | 400 status         | served ⇒ available      | 400 status         | served ⇒ available
reserved: server, export ⇒ in-use                    | 400 status         | served ⇒ in-use         | 400 status         | served ⇒ in-use
attaching: server, plug ⇒ in-use                     | 400 status         | served ⇒ in-use         | 400 status         | served ⇒ in-use
in-use: server c of two, export ⇒ in-use             | beside ⇒ attaching | served ⇒ in-use         | beside ⇒ detaching | served ⇒ in-use
reserved: row, update ⇒ attaching                    | 400 status         | served ⇒ attaching R-88 | 400 status         | served ⇒ attaching
reserved: two rows, update of the second ⇒ attaching | 400 status         | served ⇒ attaching      | 400 status         | served ⇒ attaching
reserved: row, create connected ⇒ attaching          | 400 status         | served ⇒ attaching      | 400 status         | served ⇒ attaching
attaching: row, update to b ⇒ attaching              | 400 status         | served ⇒ attaching      | 400 status         | served ⇒ attaching
in-use: row, delete ⇒ available                      | 400 status         | served ⇒ available      | beside ⇒ available | served ⇒ available
detaching: server, unplug ⇒ available                | 400 status         | served ⇒ available      | 400 status R-29    | served ⇒ available R-37
detaching: server, unexport ⇒ available              | 400 status         | served ⇒ available      | 400 status         | served ⇒ available
detaching: server of two, unplug ⇒ in-use            | 400 status         | served ⇒ in-use         | 400 status         | served ⇒ in-use
detaching: server c of two, unplug ⇒ in-use          | 400 status         | served ⇒ in-use         | 400 status         | served ⇒ in-use R-37
extending ⇒ available                                | 400 status         | served ⇒ available      | 400 status         | served ⇒ available
extending: server ⇒ in-use                           | 400 status         | served ⇒ in-use         | 400 status         | served ⇒ in-use
deleting ⇒ gone                                      | 400 status         | served ⇒ gone           | 400 status         | served ⇒ gone
available: repair ⇒ available                        | beside ⇒ attaching | served ⇒ available      | 400 status         | served ⇒ available
";

/// Compute's attachments.
pub const COMPUTE: &str = "
situation                                            | attach b            | attach a            | detach a              | a is gone               | flag of a
creating ⇒ available                                 | 400 status          | 400 status          | 404 not attached      | 404 not attached        | 404 not attached
reserved: server, export ⇒ in-use                    | 400 status R-01     | 400 status R-02     | 400 status            | next ⇒ available R-26   | beside ⇒ in-use
attaching: server, plug ⇒ in-use                     | 400 status          | 400 status R-02     | 400 status            | next ⇒ available R-26   | beside ⇒ in-use
in-use: server c of two, export ⇒ in-use             | next ⇒ in-use R-21  | 400 status R-02     | next ⇒ in-use R-35    | next ⇒ in-use           | beside ⇒ in-use
reserved: row, update ⇒ attaching                    | 400 status          | 400 status          | 404 not attached      | 404 not attached        | 404 not attached
reserved: two rows, update of the second ⇒ attaching | 400 status          | 400 status          | 404 not attached      | 404 not attached        | 404 not attached
reserved: row, create connected ⇒ attaching          | 400 status          | 400 status          | 404 not attached      | 404 not attached        | 404 not attached
attaching: row, update to b ⇒ attaching              | 400 status          | 400 status          | 404 not attached      | 404 not attached        | 404 not attached
in-use: row, delete ⇒ available                      | 400 status          | 400 status          | 404 not attached      | 404 not attached        | 404 not attached
detaching: server, unplug ⇒ available                | 400 status          | 400 status          | 400 status R-29       | served ⇒ available R-44 | beside ⇒ available
detaching: server, unexport ⇒ available              | 400 status          | 400 status          | 400 status R-29       | served ⇒ available R-44 | beside ⇒ available
detaching: server of two, unplug ⇒ in-use            | next ⇒ in-use R-21  | 400 status          | 400 status R-29       | served ⇒ in-use R-44    | beside ⇒ in-use
detaching: server c of two, unplug ⇒ in-use          | next ⇒ in-use R-21  | 400 status          | next ⇒ available R-35 | next ⇒ available        | beside ⇒ in-use
extending ⇒ available                                | 400 status R-16     | 400 status          | 404 not attached      | 404 not attached        | 404 not attached
extending: server ⇒ in-use                           | 400 status          | 400 status          | 400 status R-31       | beside ⇒ available      | beside ⇒ in-use
deleting ⇒ gone                                      | 400 status R-15     | 400 status          | 404 not attached      | 404 not attached        | 404 not attached
available: repair ⇒ available                        | waits ⇒ in-use R-43 | waits ⇒ in-use R-43 | 404 not attached      | 404 not attached        | 404 not attached
";
