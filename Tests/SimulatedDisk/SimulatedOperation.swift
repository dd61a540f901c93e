/// The calls of a `FileSystem`, as sets of them for faults.
package struct SimulatedOperation: OptionSet, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// `open` that makes no file.
    package static let open = SimulatedOperation(rawValue: 1 << 0)
    /// `open` that may make one.
    package static let create = SimulatedOperation(rawValue: 1 << 1)
    package static let read = SimulatedOperation(rawValue: 1 << 2)
    package static let write = SimulatedOperation(rawValue: 1 << 3)
    package static let truncate = SimulatedOperation(rawValue: 1 << 4)
    package static let allocate = SimulatedOperation(rawValue: 1 << 5)
    package static let sync = SimulatedOperation(rawValue: 1 << 6)
    package static let syncData = SimulatedOperation(rawValue: 1 << 7)
    package static let syncAll = SimulatedOperation(rawValue: 1 << 8)
    package static let makeDirectory = SimulatedOperation(rawValue: 1 << 9)
    package static let rename = SimulatedOperation(rawValue: 1 << 10)
    package static let link = SimulatedOperation(rawValue: 1 << 11)
    package static let remove = SimulatedOperation(rawValue: 1 << 12)
    package static let removeDirectory = SimulatedOperation(rawValue: 1 << 13)
    package static let names = SimulatedOperation(rawValue: 1 << 14)
    package static let status = SimulatedOperation(rawValue: 1 << 15)
    package static let setModified = SimulatedOperation(rawValue: 1 << 16)
    package static let lock = SimulatedOperation(rawValue: 1 << 17)
    package static let space = SimulatedOperation(rawValue: 1 << 18)

    package static let all = SimulatedOperation(rawValue: .max)
    package static let syncs: SimulatedOperation = [.sync, .syncData, .syncAll]
    /// Those that need room on the disk.
    package static let growing: SimulatedOperation = [
        .create, .write, .truncate, .allocate, .makeDirectory, .rename, .link,
    ]

    private static let words = [
        "open", "create", "read", "write", "truncate", "allocate", "sync", "syncData", "syncAll", "makeDirectory",
        "rename", "link", "remove", "removeDirectory", "names", "status", "setModified", "lock", "space",
    ]

    package var description: String {
        Self.words.indices.filter { rawValue & 1 << UInt32($0) != 0 }.map { Self.words[$0] }.joined(separator: ", ")
    }
}
