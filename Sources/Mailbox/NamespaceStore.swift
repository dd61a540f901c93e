import NIOConcurrencyHelpers

/// Where the folders of others stand among a user's own.
package struct NamespaceNames: Hashable, Sendable {
    /// The first part of the names of other users' folders, such as `user`; nil where none are shared.
    package var others: String?
    /// That of the folders for all, such as `Public`; nil where there are none.
    package var shared: String?

    package init(others: String? = nil, shared: String? = nil) {
        self.others = others
        self.shared = shared
    }

    package var isEmpty: Bool { others == nil && shared == nil }
}

/// A user's own folders, those of others that are shared with him, and those for all, as one store: `user.NAME.Folder` and
/// `Public.Folder`. Of NAME, the other's address, what would be a delimiter is written as `^`, so an address with `^` shares nothing.
package final class NamespaceStore: MailStore {
    private let own: any MailStore
    private let ownLocation: MailboxLocation
    /// The user's address.
    private let user: String
    private let names: NamespaceNames
    private let directory: MailDirectory
    private let publicStore: GuardedStore?
    private let publicLocation: MailboxLocation?

    private struct Other {
        let location: MailboxLocation
        let store: GuardedStore
    }

    /// Those that were looked up, by address.
    private let others = NIOLockedValueBox<[String: Other?]>([:])
    /// The most that are remembered.
    private static let maximumOthers = 1000

    private static let escape = UInt8(ascii: "^")

    /// - Parameters:
    ///   - own: the user's folders, at that location.
    ///   - publicLocation: of the folders for all.
    package init(
        _ own: any MailStore,
        at ownLocation: MailboxLocation,
        of user: String,
        names: NamespaceNames,
        publicLocation: MailboxLocation?,
        in directory: MailDirectory
    ) throws(MailboxError) {
        self.own = own
        self.ownLocation = ownLocation
        self.user = user
        self.names = names
        self.directory = directory
        self.publicLocation = names.shared == nil ? nil : publicLocation
        if names.shared != nil, let publicLocation {
            publicStore = GuardedStore(try directory.open(publicLocation), for: user)
        } else {
            publicStore = nil
        }
    }

    package var delimiter: UInt8 { own.delimiter }

    // MARK: Other users

    /// The address of the user whose folder a name is; nil where it's nobody else's.
    package func owner(of name: FolderName) -> String? {
        guard let prefix = names.others, name.parts.count > 1, name.parts[0] == prefix else { return nil }
        let octets = name.parts[1].utf8.map { $0 == Self.escape ? delimiter : $0 }
        let address = String(decoding: octets, as: UTF8.self)
        return address == user ? nil : address
    }

    /// Whether somebody has said where that user's mail is, or that there is none.
    package func knows(_ address: String) -> Bool { others.withLockedValue { $0[address] != nil } }

    /// Says where a user's mail is; nil where there is no such user.
    ///
    /// - Throws: what opening it throws. A mailbox that isn't there yet is not made.
    package func add(_ address: String, at location: MailboxLocation?) throws(MailboxError) {
        var other: Other?
        if let location, !address.utf8.contains(Self.escape), try directory.isThere(location) {
            other = Other(location: location, store: GuardedStore(try directory.open(location), for: user))
        }
        others.withLockedValue { [other] others in
            if others.count >= Self.maximumOthers { others = [:] }
            others[address] = .some(other)
        }
    }

    /// The addresses of users who share something with this one, as far as that is known.
    package func sharingUsers() throws(MailboxError) -> [String] {
        guard names.others != nil else { return [] }
        return try directory.shares.owners(sharingWith: user).filter { $0 != user }
    }

    // MARK: Names

    private struct Place {
        let store: any MailStore
        let name: FolderName
    }

    /// - Throws: `notFound` for names that lead nowhere, such as those of the namespaces themselves.
    private func place(_ name: FolderName) throws(MailboxError) -> Place {
        let parts = name.parts
        if let prefix = names.others, parts[0] == prefix {
            guard parts.count > 1 else { throw .notFound }
            guard let address = owner(of: name), let other = others.withLockedValue({ $0[address] ?? nil }) else {
                throw .notFound
            }
            return Place(store: other.store, name: try inner(parts.dropFirst(2), other.store, orInbox: true))
        }
        if let prefix = names.shared, parts[0] == prefix, let publicStore {
            return Place(store: publicStore, name: try inner(parts.dropFirst(), publicStore, orInbox: false))
        }
        return Place(store: own, name: name)
    }

    private func inner(
        _ parts: ArraySlice<Substring>,
        _ store: any MailStore,
        orInbox: Bool
    ) throws(MailboxError) -> FolderName {
        if parts.isEmpty, orInbox { return .inbox }
        guard let name = FolderName(parts: parts.map(\.utf8), delimiter: store.delimiter), orInbox || !name.isInbox
        else {
            throw .notFound
        }
        return name
    }

    /// The name here of another store's folder; nil where it can't have one.
    private func outer(_ name: FolderName, below prefix: [String]) -> FolderName? {
        let parts = prefix.map { Array($0.utf8) } + (name.isInbox ? [] : name.parts.map { Array($0.utf8) })
        return FolderName(parts: parts, delimiter: delimiter)
    }

    package func isPersonal(_ name: FolderName) -> Bool {
        guard let first = name.parts.first else { return true }
        return first != names.others ?? "" && (publicStore == nil || first != names.shared ?? "")
    }

    package func home(of name: FolderName) -> (location: MailboxLocation, name: FolderName)? {
        guard let place = try? place(name) else { return nil }
        if let address = owner(of: name) {
            return others.withLockedValue { $0[address] ?? nil }.map { ($0.location, place.name) }
        }
        if !isPersonal(name) { return publicLocation.map { ($0, place.name) } }
        return (ownLocation, name)
    }

    package var namespaces: Namespaces {
        let delimiter = String(UnicodeScalar(delimiter))
        return Namespaces(
            others: names.others.map { $0 + delimiter },
            shared: publicStore == nil ? nil : names.shared.map { $0 + delimiter }
        )
    }

    // MARK: MailStore

    package func folders() throws(MailboxError) -> [FolderEntry] {
        // What a user has under these names himself is hidden by them.
        var entries = try own.folders().filter { isPersonal($0.name) }
        if let prefix = names.others {
            let known = others.withLockedValue { $0 }
            for (address, other) in known.sorted(by: { $0.key < $1.key }) {
                guard let other else { continue }
                let octets = address.utf8.map { $0 == delimiter ? Self.escape : $0 }
                try append(
                    other.store.folders(),
                    below: [prefix, String(decoding: octets, as: UTF8.self)],
                    to: &entries
                )
            }
        }
        if let prefix = names.shared, let publicStore {
            try append(publicStore.folders().filter { !$0.name.isInbox }, below: [prefix], to: &entries)
        }
        return entries
    }

    /// Adds folders of another store, and the names above them.
    private func append(
        _ some: [FolderEntry],
        below prefix: [String],
        to entries: inout [FolderEntry]
    ) throws(MailboxError) {
        guard !some.isEmpty else { return }
        for count in 1...prefix.count {
            guard let name = outer(.inbox, below: Array(prefix.prefix(count))) else { return }
            let isInbox = count == prefix.count && some.contains { $0.name.isInbox && $0.isSelectable }
            let hasChildren = count < prefix.count || some.contains { !$0.name.isInbox }
            if !isInbox, entries.contains(where: { $0.name == name }) { continue }
            entries.append(FolderEntry(name: name, isSelectable: isInbox, hasChildren: hasChildren))
        }
        for entry in some where !entry.name.isInbox {
            guard let name = outer(entry.name, below: prefix) else { continue }
            entries.append(FolderEntry(name: name, isSelectable: entry.isSelectable, hasChildren: entry.hasChildren))
        }
    }

    package func open(
        _ name: FolderName,
        readOnly: Bool,
        tracksChanges: Bool
    ) throws(MailboxError) -> any MailFolder {
        let place = try place(name)
        return try place.store.open(place.name, readOnly: readOnly, tracksChanges: tracksChanges)
    }

    package func openForInserting(_ name: FolderName) throws(MailboxError) -> any MailFolder {
        let place = try place(name)
        return try place.store.openForInserting(place.name)
    }

    package func create(_ name: FolderName) throws(MailboxError) {
        let place = try place(name)
        try place.store.create(place.name)
    }

    package func delete(_ name: FolderName) throws(MailboxError) {
        let place = try place(name)
        try place.store.delete(place.name)
    }

    package func rename(_ name: FolderName, to new: FolderName) throws(MailboxError) {
        let (from, to) = (try place(name), try place(new))
        // Messages may be copied from one account to another, folders not moved.
        guard from.store === to.store else { throw .unsupported }
        try from.store.rename(from.name, to: to.name)
    }

    /// A user's subscriptions are his own, whosever folders they are of.
    package func subscriptions() throws(MailboxError) -> [FolderName] { try own.subscriptions() }
    package func subscribe(_ name: FolderName) throws(MailboxError) { try own.subscribe(name) }
    package func unsubscribe(_ name: FolderName) throws(MailboxError) { try own.unsubscribe(name) }

    package func specialUses(of names: [FolderName]) throws(MailboxError) -> [FolderName: [String]] {
        try own.specialUses(of: names.filter { isPersonal($0) })
    }

    package func setSpecialUses(_ uses: [String], of name: FolderName) throws(MailboxError) {
        guard isPersonal(name) else { throw .unsupported }
        try own.setSpecialUses(uses, of: name)
    }

    package func annotations(of target: AnnotationTarget) throws(MailboxError) -> Annotations {
        guard case .folder(let name) = target else { return try own.annotations(of: target) }
        let place = try place(name)
        return try place.store.annotations(of: .folder(place.name))
    }

    package func annotate(
        _ target: AnnotationTarget,
        _ changes: [AnnotationKey: [UInt8]?]
    ) throws(MailboxError) -> AnnotationOutcome {
        guard case .folder(let name) = target else { return try own.annotate(target, changes) }
        let place = try place(name)
        return try place.store.annotate(.folder(place.name), changes)
    }

    package func rights(to name: FolderName) throws(MailboxError) -> MailboxRights {
        let place = try place(name)
        return try place.store.rights(to: place.name)
    }

    package func accessList(of name: FolderName) throws(MailboxError) -> AccessControlList {
        let place = try place(name)
        return try place.store.accessList(of: place.name)
    }

    package func changeAccess(
        to name: FolderName,
        of identifier: AccessIdentifier,
        _ change: AccessChange
    ) throws(MailboxError) {
        let place = try place(name)
        // Before the right itself: who has it must find the folder.
        if names.others != nil, let owner = isPersonal(name) ? user : owner(of: name), !identifier.isNegative,
            change.mayGive
        {
            _ = try place.store.accessList(of: place.name)
            try directory.shares.note(owner, sharesWith: identifier)
        }
        try place.store.changeAccess(to: place.name, of: identifier, change)
    }

    package func usage() throws(MailboxError) -> MailboxUsage { try own.usage() }
    package func lockSession() throws(MailboxError) -> SessionLock { try own.lockSession() }
}

extension AccessChange {
    fileprivate var mayGive: Bool {
        switch self {
        case .replace(let rights), .add(let rights): !rights.isEmpty
        case .remove, .delete: false
        }
    }
}

/// What stands in front of the names of folders that aren't a user's own (RFC 2342).
package struct Namespaces: Hashable, Sendable {
    package var others: String?
    package var shared: String?

    package init(others: String? = nil, shared: String? = nil) {
        self.others = others
        self.shared = shared
    }
}

/// Who shares something with whom, so that LIST needn't look at every account: the file `martlet-shares` of the mail directory, a
/// line for each pair of an address and an identifier, with a tab between them. It only says where to look; a pair too many does no
/// harm, and one that is missing hides folders from LIST, and from nothing else.
struct ShareList: Sendable {
    private static let path = "martlet-shares"
    private static let lock = "martlet-shares.lock"
    /// Octets.
    private static let maximum = 16 << 20

    let directory: DirectoryAccess

    func owners(sharingWith user: String) throws(MailboxError) -> [String] {
        let identifiers = [AccessIdentifier.Subject.anyone, .authenticated, .user(user)].map {
            Array(AccessIdentifier($0).file.utf8)
        }
        let octets = try directory.contents(Self.path, maximum: Self.maximum) ?? []
        var owners: Set<String> = []
        for line in octets.split(separator: UInt8(ascii: "\n")) {
            guard let tab = line.firstIndex(of: UInt8(ascii: "\t")) else { continue }
            guard identifiers.contains(where: { $0.elementsEqual(line[(tab + 1)...]) }) else { continue }
            owners.insert(String(decoding: line[..<tab], as: UTF8.self))
        }
        return owners.sorted()
    }

    /// Notes it durably, if it isn't there.
    func note(_ owner: String, sharesWith identifier: AccessIdentifier) throws(MailboxError) {
        let line = Array("\(owner)\t\(identifier.file)".utf8)
        guard !line.contains(UInt8(ascii: "\n")) else { throw .invalidName }
        try directory.withLock(Self.lock) { () throws(MailboxError) in
            let octets = try directory.contents(Self.path, maximum: Self.maximum) ?? []
            let lines = octets.split(separator: UInt8(ascii: "\n"))
            guard !lines.contains(where: { $0.elementsEqual(line) }) else { return }
            guard octets.count + line.count < Self.maximum else { throw .noSpace }
            try directory.replace(Self.path, with: octets + line + [UInt8(ascii: "\n")])
        }
    }
}
