//! The operations a client can ask for: the table [`OPCODES`] is the only place that lists them.

/// How the server treats an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpKind {
    /// Goes through the replicated log and consumes a zxid.
    Write,
    /// Answered by the server that holds the connection.
    Read,
    /// Handled when it arrives, outside the order of requests.
    Immediate,
    /// Known by name, never accepted from a client.
    Internal,
}

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $short:literal, $kind:ident;)*) => {
        /// An operation, by its number on the wire.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(i32)]
        pub enum OpCode { $($(#[$doc])* $name = $number,)* }

        /// Every operation: its code, upstream's name, the short name in `cons`, how it is treated.
        pub const OPCODES: &[(OpCode, &str, &str, OpKind)] =
            &[$((OpCode::$name, $text, $short, OpKind::$kind),)*];

        impl OpCode {
            /// The operation with this number, if there is one.
            pub const fn from_number(number: i32) -> Option<OpCode> {
                match number { $($number => Some(OpCode::$name),)* _ => None }
            }

            /// Upstream's name of the operation.
            pub const fn name(self) -> &'static str {
                match self { $(OpCode::$name => $text,)* }
            }

            /// The four letters by which `cons` shows a connection's last operation.
            pub const fn short_name(self) -> &'static str {
                match self { $(OpCode::$name => $short,)* }
            }

            /// How the server treats the operation.
            pub const fn kind(self) -> OpKind {
                match self { $(OpCode::$name => OpKind::$kind,)* }
            }
        }
    };
}

opcodes! {
    /// Ends the session.
    CloseSession = -11, "closeSession", "CLOS", Write;
    /// Opens a session; a client asks with a `ConnectRequest` instead.
    CreateSession = -10, "createSession", "SESS", Internal;
    /// The transaction of a refused write.
    Error = -1, "error", "ERRO", Internal;
    /// A server's message to a client.
    Notification = 0, "notification", "NOTI", Internal;
    /// Creates a node.
    Create = 1, "create", "CREA", Write;
    /// Deletes a node without children.
    Delete = 2, "delete", "DELE", Write;
    /// Asks for a node's `Stat`.
    Exists = 3, "exists", "EXIS", Read;
    /// Reads a node's data.
    GetData = 4, "getData", "GETD", Read;
    /// Replaces a node's data.
    SetData = 5, "setData", "SETD", Write;
    /// Reads a node's ACL.
    GetAcl = 6, "getACL", "GETA", Read;
    /// Replaces a node's ACL.
    SetAcl = 7, "setACL", "SETA", Write;
    /// Lists a node's children.
    GetChildren = 8, "getChildren", "GETC", Read;
    /// Waits until this server has applied what the leader had committed.
    Sync = 9, "sync", "SYNC", Read;
    /// Keeps the session alive.
    Ping = 11, "ping", "PING", Read;
    /// Lists a node's children, with its `Stat`.
    GetChildren2 = 12, "getChildren2", "GETC", Read;
    /// Compares a version; only inside `multi`.
    Check = 13, "check", "CHEC", Internal;
    /// Several writes, all or none.
    Multi = 14, "multi", "MULT", Write;
    /// Creates a node and returns its `Stat`.
    Create2 = 15, "create2", "CREA", Write;
    /// Changes the ensemble's membership.
    Reconfig = 16, "reconfig", "RECO", Write;
    /// Asks whether a watch is registered.
    CheckWatches = 17, "checkWatches", "CHKW", Read;
    /// Removes watches.
    RemoveWatches = 18, "removeWatches", "REMW", Read;
    /// Creates a container node.
    CreateContainer = 19, "createContainer", "CREA", Write;
    /// Deletes an emptied container or an outlived TTL node; the leader's own request.
    DeleteContainer = 20, "deleteContainer", "DELE", Internal;
    /// Creates a node that is deleted when it has not been changed for so long.
    CreateTtl = 21, "createTTL", "CREA", Write;
    /// Several reads of one state.
    MultiRead = 22, "multiRead", "MLTR", Read;
    /// Adds an identity to the connection.
    Auth = 100, "auth", "AUTH", Immediate;
    /// Brings a reconnecting client's watches along.
    SetWatches = 101, "setWatches", "SETW", Read;
    /// One step of a SASL exchange.
    Sasl = 102, "sasl", "SASL", Immediate;
    /// Lists the session's ephemeral nodes.
    GetEphemerals = 103, "getEphemerals", "GETE", Read;
    /// Counts all descendants.
    GetAllChildrenNumber = 104, "getAllChildrenNumber", "GETACN", Read;
    /// `SetWatches` with persistent watches.
    SetWatches2 = 105, "setWatches2", "STW2", Read;
    /// Adds a persistent watch.
    AddWatch = 106, "addWatch", "ADDW", Read;
    /// Lists the connection's identities.
    WhoAmI = 107, "whoAmI", "HOMI", Read;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_name_each_other() {
        for &(code, name, _, _) in OPCODES {
            assert_eq!(OpCode::from_number(code as i32), Some(code), "{name}");
        }
        assert_eq!(OpCode::from_number(10), None);
    }
}
