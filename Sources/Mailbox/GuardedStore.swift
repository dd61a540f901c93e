import NIOCore

/// The folders of another account, or of all, as one user may use them: whatever isn't granted is refused here, whoever asks. What
/// a user can't even see isn't there for him.
package final class GuardedStore: MailStore {
    private let store: any MailStore
    /// Who uses it.
    private let user: String

    /// - Parameter user: not the owner.
    package init(_ store: any MailStore, for user: String) {
        self.store = store
        self.user = user
    }

    package var delimiter: UInt8 { store.delimiter }

    package func rights(to name: FolderName) throws(MailboxError) -> MailboxRights {
        try store.accessList(of: name).rights(of: user)
    }

    /// - Throws: `notFound` where the user may not know of the folder, `noPermission`.
    private func require(_ wanted: MailboxRights, to name: FolderName) throws(MailboxError) -> MailboxRights {
        let rights = try rights(to: name)
        guard rights.isSuperset(of: wanted) else { throw rights.contains(.lookUp) ? .noPermission : .notFound }
        return rights
    }

    package func folders() throws(MailboxError) -> [FolderEntry] {
        let all = try store.folders()
        var visible: Set<FolderName> = []
        var parents: Set<FolderName> = []
        for entry in all where entry.isSelectable {
            // One that has gone meanwhile.
            guard (try? rights(to: entry.name))?.contains(.lookUp) == true else { continue }
            visible.insert(entry.name)
            parents.formUnion(entry.name.ancestors)
        }
        return visible.union(parents).sorted { $0.description < $1.description }.map { name in
            FolderEntry(
                name: name,
                isSelectable: visible.contains(name),
                hasChildren: parents.contains(name)
            )
        }
    }

    package func open(
        _ name: FolderName,
        readOnly: Bool,
        tracksChanges: Bool
    ) throws(MailboxError) -> any MailFolder {
        let rights = try require(.read, to: name)
        // Only who may change \Seen takes messages for seen by him.
        let readOnly = readOnly || !rights.contains(.seen)
        let folder = try store.open(name, readOnly: readOnly, tracksChanges: tracksChanges)
        return GuardedFolder(folder, name, of: self, needs: .read, rights)
    }

    package func openForInserting(_ name: FolderName) throws(MailboxError) -> any MailFolder {
        let rights = try require(.insert, to: name)
        let folder = try store.openForInserting(name)
        return GuardedFolder(folder, name, of: self, needs: .insert, rights)
    }

    package func create(_ name: FolderName) throws(MailboxError) {
        try store.create(name, below: try requireCreation(of: name))
    }

    /// The right to make folders below the nearest one above that there is; below none, that of the root, which is the inbox's.
    ///
    /// - Returns: the folder whose list says so.
    private func requireCreation(of name: FolderName) throws(MailboxError) -> FolderName {
        for parent in name.ancestors.reversed() where try isThere(parent) {
            guard try rights(to: parent).contains(.create) else { throw .noPermission }
            return parent
        }
        guard try rights(to: .inbox).contains(.create) else { throw .noPermission }
        return .inbox
    }

    private func isThere(_ name: FolderName) throws(MailboxError) -> Bool {
        do throws(MailboxError) { _ = try store.accessList(of: name) } catch {
            if error == .notFound { return false }
            throw error
        }
        return true
    }

    package func delete(_ name: FolderName) throws(MailboxError) {
        _ = try require(.deleteFolder, to: name)
        try store.delete(name)
    }

    /// All that is below goes along, so it takes the right to each of it.
    package func rename(_ name: FolderName, to new: FolderName) throws(MailboxError) {
        // It would move all of somebody's messages.
        guard !name.isInbox else { throw .noPermission }
        let moved = try store.folders().filter { $0.isSelectable && ($0.name == name || $0.name.isBelow(name)) }
        guard !moved.isEmpty else { throw .notFound }
        for entry in moved { _ = try require(.deleteFolder, to: entry.name) }
        _ = try requireCreation(of: new)
        try store.rename(name, to: new)
    }

    package func subscriptions() throws(MailboxError) -> [FolderName] { [] }
    package func subscribe(_ name: FolderName) throws(MailboxError) { throw .unsupported }
    package func unsubscribe(_ name: FolderName) throws(MailboxError) { throw .unsupported }

    package func annotations(of target: AnnotationTarget) throws(MailboxError) -> Annotations {
        try requireAnnotations(target)
        var own = Annotations()
        for (key, value) in try store.annotations(of: target).values {
            switch key.scope {
            case .shared: own.set(key, value)
            case .user(user): own.set(AnnotationKey(.user(""), key.name), value)
            case .user: continue
            }
        }
        return own
    }

    package func annotate(
        _ target: AnnotationTarget,
        _ changes: [AnnotationKey: [UInt8]?]
    ) throws(MailboxError) -> AnnotationOutcome {
        try requireAnnotations(target)
        var own: [AnnotationKey: [UInt8]?] = [:]
        for (key, value) in changes {
            switch key.scope {
            case .shared: own.updateValue(value, forKey: key)
            case .user: own.updateValue(value, forKey: AnnotationKey(.user(user), key.name))
            }
        }
        return try store.annotate(target, own)
    }

    private func requireAnnotations(_ target: AnnotationTarget) throws(MailboxError) {
        guard case .folder(let name) = target else { throw .noPermission }
        let rights = try require(.lookUp, to: name)
        guard !rights.isDisjoint(with: .annotations) else { throw .noPermission }
    }

    package func accessList(of name: FolderName) throws(MailboxError) -> AccessControlList {
        _ = try require(.administer, to: name)
        return try store.accessList(of: name)
    }

    package func changeAccess(
        to name: FolderName,
        of identifier: AccessIdentifier,
        _ change: AccessChange
    ) throws(MailboxError) {
        _ = try require(.administer, to: name)
        try store.changeAccess(to: name, of: identifier, change)
    }

    /// Nobody else's business.
    package func usage() throws(MailboxError) -> MailboxUsage { throw .noPermission }
    package func lockSession() throws(MailboxError) -> SessionLock { throw .noPermission }
}

/// A folder of another account, open for one session. Rights are looked at again with the folder.
final class GuardedFolder: MailFolder, @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.
    private let inner: any MailFolder
    private let name: FolderName
    private let store: GuardedStore
    /// Without which it can't stay open.
    private let needed: MailboxRights
    private(set) var rights: MailboxRights {
        didSet { inner.accepts = rights.flags }
    }

    init(
        _ inner: any MailFolder,
        _ name: FolderName,
        of store: GuardedStore,
        needs needed: MailboxRights,
        _ rights: MailboxRights
    ) {
        self.inner = inner
        self.name = name
        self.store = store
        self.needed = needed
        self.rights = rights
        inner.accepts = rights.flags
    }

    var base: any MailFolder { inner.base }
    var accepts: MessageFlags {
        get { rights.flags }
        set { inner.accepts = newValue.intersection(rights.flags) }
    }

    private func require(_ wanted: MailboxRights) throws(MailboxError) {
        guard rights.isSuperset(of: wanted) else { throw .noPermission }
    }

    var uidValidity: UInt32 { inner.uidValidity }
    var uidNext: UInt32 { inner.uidNext }
    /// Who may only put messages here sees none.
    var messages: [StoredMessage] { rights.contains(.read) ? inner.messages : [] }
    var keywords: [String] { inner.keywords }
    var tracksChanges: Bool {
        get { inner.tracksChanges }
        set { inner.tracksChanges = newValue }
    }
    var changes: FolderChanges? { inner.changes }

    func refresh() throws(MailboxError) -> Bool {
        do throws(MailboxError) { rights = try store.rights(to: name) } catch {
            throw error == .notFound ? .vanished : error
        }
        // For this user it is gone.
        guard rights.isSuperset(of: needed) else { throw .vanished }
        return try inner.refresh()
    }

    func open(_ uid: UInt32) throws(MailboxError) -> MessageReader {
        try require(.read)
        return try inner.open(uid)
    }

    func octets(of uid: UInt32) throws(MailboxError) -> Int {
        try require(.read)
        return try inner.octets(of: uid)
    }

    func identity(of uid: UInt32) -> UInt64? { inner.identity(of: uid) }

    func internalDate(of uid: UInt32) throws(MailboxError) -> Int {
        try require(.read)
        return try inner.internalDate(of: uid)
    }

    var objectIdentifier: String { inner.objectIdentifier }

    func originalNames(of uids: some Sequence<UInt32> & Sendable) -> [UInt32: String] { inner.originalNames(of: uids) }

    func contentIdentifier(of uid: UInt32) -> String? {
        rights.contains(.read) ? inner.contentIdentifier(of: uid) : nil
    }

    func saveDate(of uid: UInt32) throws(MailboxError) -> Int? {
        try require(.read)
        return try inner.saveDate(of: uid)
    }

    /// What may be changed is changed, and the rest isn't (RFC 4314 §4, STORE).
    func store(
        _ change: FlagChange,
        to uids: [UInt32],
        unchangedSince sequence: UInt64?
    ) throws(MailboxError) -> StoredFlags {
        try require(.read)
        let allowed = rights.flags
        let flags = change.flags.intersection(allowed)
        let keywords = rights.contains(.write) ? change.keywords : []
        guard allowed != MailboxRights.all.flags else {
            return try inner.store(change, to: uids, unchangedSince: sequence)
        }
        guard !allowed.isEmpty else { throw .noPermission }
        switch change.mode {
        case .add, .remove:
            guard !flags.isEmpty || !keywords.isEmpty || change.flags.isEmpty && change.keywords.isEmpty else {
                throw .noPermission
            }
            return try inner.store(
                FlagChange(change.mode, flags, keywords: keywords),
                to: uids,
                unchangedSince: sequence
            )
        case .replace:
            // All others stay: those that may go are taken away first, and by that the condition is looked at.
            let gone =
                rights.contains(.write)
                ? inner.keywords.filter { name in !name.isEmpty && !keywords.contains(name) } : []
            let removal = FlagChange(.remove, allowed.subtracting(flags), keywords: gone)
            let removed = try inner.store(removal, to: uids, unchangedSince: sequence)
            let left = Set(removed.conflicts)
            let rest = uids.filter { !left.contains($0) }
            var stored = try inner.store(FlagChange(.add, flags, keywords: keywords), to: rest, unchangedSince: nil)
            stored.conflicts = removed.conflicts
            return stored
        }
    }

    func expunge(_ uids: [UInt32]) throws(MailboxError) -> [UInt32] {
        try require(.expunge)
        return try inner.expunge(uids)
    }

    func append() throws(MailboxError) -> any MessageAppend {
        try require(.insert)
        return try inner.append()
    }

    func copy(
        _ uids: [UInt32],
        to target: any MailFolder
    ) throws(MailboxError) -> [(source: UInt32, target: UInt32)] {
        try require(.read)
        return try inner.copy(uids, to: target)
    }
}
