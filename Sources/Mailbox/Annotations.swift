/// What an annotation is of (RFC 5464): a folder, or the server as an account sees it.
package enum AnnotationTarget: Hashable, Sendable {
    case server
    case folder(FolderName)
}

/// Whose annotation is meant: everybody's, or one user's own.
package enum AnnotationScope: Hashable, Sendable {
    case shared
    /// Empty for the account's own user, and otherwise an address.
    case user(String)
}

/// The key of an annotation: its name without `/shared` or `/private`.
package struct AnnotationKey: Hashable, Sendable {
    package let scope: AnnotationScope
    /// In small letters, such as `/comment`; no blanks.
    package let name: String

    package init(_ scope: AnnotationScope, _ name: String) {
        self.scope = scope
        self.name = name
    }
}

/// What became of a change of annotations.
package enum AnnotationOutcome: Sendable {
    case kept
    /// There would be too many of them, or too much in them; nothing was changed.
    case tooMany
}

/// All annotations of one folder, or of an account's server: a small file. A line `MLTMETA1`, and for each annotation a line with its
/// name, the scope (`shared`, or `user=` and whose) and the value's length, with tabs between them, the value, and a line end.
package struct Annotations: Sendable {
    private(set) package var values: [AnnotationKey: [UInt8]] = [:]

    /// In each scope, and of all users together.
    package static let maximumCount = 100
    private static let maximumTotal = 1000
    /// Of a value, and of all in the file together. Octets.
    package static let maximumValue = 32 * 1024
    static let maximumOctets = 512 * 1024
    private static let head = Array("MLTMETA1\n".utf8)

    init() {}

    mutating func set(_ key: AnnotationKey, _ value: [UInt8]) { values[key] = value }

    /// - Throws: `corrupt`: what can't be read must not be lost by writing it anew.
    init(_ octets: [UInt8]) throws(MailboxError) {
        guard octets.starts(with: Self.head) else { throw .corrupt("not a file of annotations") }
        var rest = octets[Self.head.count...]
        while !rest.isEmpty {
            guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else { throw .corrupt("annotations without end") }
            let fields = rest[..<end].split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false)
            rest = rest[(end + 1)...]
            guard fields.count == 3, let scope = Self.scope(fields[1]),
                let length = Int(String(decoding: fields[2], as: UTF8.self)), length >= 0, length < rest.count
            else { throw .corrupt("malformed annotations") }
            let value = rest.prefix(length)
            rest = rest.dropFirst(length)
            guard rest.popFirst() == UInt8(ascii: "\n") else { throw .corrupt("malformed annotations") }
            values[AnnotationKey(scope, String(decoding: fields[0], as: UTF8.self))] = Array(value)
        }
    }

    private static func scope(_ field: ArraySlice<UInt8>) -> AnnotationScope? {
        if field.elementsEqual("shared".utf8) { return .shared }
        guard field.starts(with: "user=".utf8) else { return nil }
        return .user(String(decoding: field.dropFirst(5), as: UTF8.self))
    }

    var octets: [UInt8] {
        var octets = Self.head
        for (key, value) in values.sorted(by: { Self.line($0.key) < Self.line($1.key) }) {
            octets += "\(Self.line(key))\t\(value.count)\n".utf8
            octets += value
            octets.append(UInt8(ascii: "\n"))
        }
        return octets
    }

    private static func line(_ key: AnnotationKey) -> String {
        switch key.scope {
        case .shared: "\(key.name)\tshared"
        case .user(let user): "\(key.name)\tuser=\(user)"
        }
    }

    /// Sets values, or removes those that are nil: all or nothing.
    mutating func apply(_ changes: [AnnotationKey: [UInt8]?]) -> AnnotationOutcome {
        var after = values
        for (key, value) in changes {
            if let value { after[key] = value } else { after.removeValue(forKey: key) }
        }
        var counts: [AnnotationScope: Int] = [:]
        for key in after.keys { counts[key.scope, default: 0] += 1 }
        let octets = after.reduce(0) { $0 + $1.key.name.utf8.count + $1.value.count + 64 }
        // Whoever only removes is never refused.
        let grows = changes.contains { $0.value != nil }
        let isTooMuch =
            counts.values.contains { $0 > Self.maximumCount } || after.count > Self.maximumTotal
            || octets > Self.maximumOctets || after.values.contains { $0.count > Self.maximumValue }
        guard !grows || !isTooMuch else { return .tooMany }
        values = after
        return .kept
    }
}

/// A file of annotations, wherever a store keeps it.
struct AnnotationFile {
    let path: String
    let directory: DirectoryAccess
    /// Whose lock is held while it's written.
    let lock: String

    func read() throws(MailboxError) -> Annotations {
        guard let octets = try directory.contents(path, maximum: Annotations.maximumOctets * 2) else {
            return Annotations()
        }
        return try Annotations(octets)
    }

    /// Changes it durably.
    ///
    /// - Parameter sync: waits until the name of the file is on stable storage.
    func change(
        _ changes: [AnnotationKey: [UInt8]?],
        sync: () throws(MailboxError) -> Void
    ) throws(MailboxError) -> AnnotationOutcome {
        try directory.withLock(lock) { () throws(MailboxError) in
            var annotations = try read()
            guard annotations.apply(changes) == .kept else { return .tooMany }
            guard !annotations.values.isEmpty else {
                try directory.removeIfPresent(path)
                try sync()
                return .kept
            }
            try directory.replace(path, with: annotations.octets)
            try sync()
            return .kept
        }
    }
}

extension Maildir {
    /// The folder's is in its own directory, which goes where that goes.
    private static let annotationFile = "martlet-metadata"
    private static let serverAnnotationFile = "martlet-server-metadata"

    /// - Throws: `notFound` where there is no such folder.
    private func file(of target: AnnotationTarget) throws(MailboxError) -> AnnotationFile {
        switch target {
        case .server: return AnnotationFile(path: Self.serverAnnotationFile, directory: root, lock: Self.lockFile)
        case .folder(let name):
            try requireFolder(name)
            let path = "\(name.directory)/\(Self.annotationFile)"
            return AnnotationFile(path: path, directory: root, lock: Self.lockFile)
        }
    }

    package func annotations(of target: AnnotationTarget) throws(MailboxError) -> Annotations {
        try file(of: target).read()
    }

    package func annotate(
        _ target: AnnotationTarget,
        _ changes: [AnnotationKey: [UInt8]?]
    ) throws(MailboxError) -> AnnotationOutcome {
        try file(of: target).change(changes) { () throws(MailboxError) in
            if case .folder(let name) = target { try root.sync(name.directory) } else { try root.sync() }
        }
    }

    /// The inbox keeps its annotations when it is renamed, and the folder that its messages go to has them too (RFC 5464 §4.1).
    func copyInboxAnnotations(to new: FolderName) throws(MailboxError) {
        let values = try annotations(of: .folder(.inbox)).values
        guard !values.isEmpty else { return }
        _ = try annotate(.folder(new), values.mapValues { $0 })
    }
}

extension MboxStore {
    private func file(of target: AnnotationTarget) throws(MailboxError) -> AnnotationFile {
        switch target {
        case .server: return AnnotationFile(path: "\(name).martlet-server-metadata", directory: directory, lock: lock)
        case .folder(let folder):
            guard folder.isInbox else { throw .notFound }
            return AnnotationFile(path: "\(name).martlet-metadata", directory: directory, lock: lock)
        }
    }

    private var lock: String { "\(name).martlet-store.lock" }

    package func annotations(of target: AnnotationTarget) throws(MailboxError) -> Annotations {
        try file(of: target).read()
    }

    package func annotate(
        _ target: AnnotationTarget,
        _ changes: [AnnotationKey: [UInt8]?]
    ) throws(MailboxError) -> AnnotationOutcome {
        try file(of: target).change(changes) { () throws(MailboxError) in try directory.sync() }
    }
}
