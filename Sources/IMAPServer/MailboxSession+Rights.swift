import Accounts
import IMAP
import Logging
import Mailbox
import MailboxProcess
import Network

/// Who may do what with whose folders (RFC 4314). What may be done is decided in the store; here is what is said about it.
extension MailboxSession {
    // MARK: Other users

    /// Finds out where another user's mail is, once a session.
    func meet(_ owner: String, in united: NamespaceStore) async throws(Refusal) {
        guard !united.knows(owner) else { return }
        var found: MailboxLocation?
        do throws(AccountsError) {
            if let account = try await account(owner), let format = MailboxFormat(rawValue: account.format) {
                found = MailboxLocation(path: account.mailbox, format: format, quota: account.quota)
            }
        } catch {
            logger.warning("another user's mailbox not found", metadata: ["user": "\(owner)", "reason": "\(error)"])
            throw Refusal(code: .unavailable, text: "that mailbox can't be found now")
        }
        try await onDisk { [found] () throws(MailboxError) in try united.add(owner, at: found) }
    }

    /// The account of an address itself, and none that the address leads to; nil where there is none.
    private func account(_ address: String) async throws(AccountsError) -> AccountMailbox? {
        do throws(AccountsError) {
            guard case .mailbox(let account, extension: nil) = try await accounts.expand(address, isExpanded: true),
                account.address == address
            else { return nil }
            return account
        } catch {
            if case .refused = error { return nil }
            throw error
        }
    }

    /// Those who share something with this user. One whose mailbox can't be found now is left out.
    func meetSharingUsers() async throws(Refusal) {
        guard let united else { return }
        for owner in try await onDisk({ () throws(MailboxError) in try united.sharingUsers() }) {
            try? await meet(owner, in: united)
        }
    }

    // MARK: Commands

    /// GETACL (RFC 4314 §3.3). The owner's entry isn't in the list: he has all rights, whatever stands there.
    func getACL(_ name: MailboxName) async throws {
        let path = try await folderName(name)
        let store = store
        let list = try await onDisk { () throws(MailboxError) in try store.accessList(of: path) }
        var entries: [(identifier: String, rights: String)] = []
        let owner = owner(of: path)
        if let owner { entries.append((owner, MailboxRights.all.told)) }
        for entry in list.entries where entry.identifier.subject != .owner {
            if let owner, entry.identifier.subject == .user(owner) { continue }
            entries.append((entry.identifier.imap, entry.rights.told))
        }
        respond { [entries] in $0.acl(name, entries) }
    }

    /// SETACL (RFC 4314 §3.1).
    func setACL(_ name: MailboxName, _ identifier: [UInt8], _ change: RightsChange) async throws {
        let path = try await folderName(name)
        let rights = MailboxRights(letters: change.letters)
        let made: AccessChange =
            switch change.operation {
            case .replace: .replace(rights)
            case .add: .add(rights)
            case .remove: .remove(rights)
            }
        let subject = try changeable(identifier, of: path)
        // Whoever has no right to it learns nothing of who is a user here.
        let store = store
        _ = try await onDisk { () throws(MailboxError) in try store.accessList(of: path) }
        if case .user(let user) = subject.subject { try await requireUser(user) }
        try await changeAccess(to: path, of: subject, made)
    }

    /// DELETEACL (RFC 4314 §3.2).
    func deleteACL(_ name: MailboxName, _ identifier: [UInt8]) async throws {
        let path = try await folderName(name)
        try await changeAccess(to: path, of: try changeable(identifier, of: path), .delete)
    }

    /// LISTRIGHTS (RFC 4314 §3.4): each right by itself, but for the owner, who has all.
    func listRights(_ name: MailboxName, _ octets: [UInt8]) async throws {
        let path = try await folderName(name)
        let identifier = try Self.identifier(octets)
        let store = store
        _ = try await onDisk { () throws(MailboxError) in try store.accessList(of: path) }
        let isOwner = isOwner(identifier.subject, of: path)
        let optional = isOwner ? [] : MailboxRights.letters.map { String(UnicodeScalar($0.letter)) } + ["c", "d"]
        respond { $0.listRights(name, octets, required: isOwner ? MailboxRights.all.told : "", optional: optional) }
    }

    /// MYRIGHTS (RFC 4314 §3.5).
    func myRights(_ name: MailboxName) async throws {
        let path = try await folderName(name)
        let store = store
        let rights = try await onDisk { () throws(MailboxError) in try store.rights(to: path) }
        guard !rights.isDisjoint(with: .any) else { throw refusal(.notFound) }
        respond { $0.myRights(name, rights.told) }
    }

    /// The rights to a mailbox that LIST shows (RFC 8440); none where they can't be had.
    func showRights(_ name: MailboxName, _ path: FolderName) async throws(ConnectionError) {
        let store = store
        let rights = try? await onDisk { () throws(MailboxError) in try store.rights(to: path) }
        if let rights { respond { $0.myRights(name, rights.told) } }
    }

    // MARK: Identifiers

    private func changeAccess(
        to path: FolderName,
        of identifier: AccessIdentifier,
        _ change: AccessChange
    ) async throws(Refusal) {
        let store = store
        do throws(Refusal) {
            try await onDisk { () throws(MailboxError) in try store.changeAccess(to: path, of: identifier, change) }
        } catch {
            guard error.code == .overQuota else { throw error }
            throw Refusal(code: .limit, text: "there is no room for another entry")
        }
    }

    /// Nil for folders that are for all.
    private func owner(of path: FolderName) -> String? {
        store.isPersonal(path) ? address : united?.owner(of: path)
    }

    private func isOwner(_ subject: AccessIdentifier.Subject, of path: FolderName) -> Bool {
        guard let owner = owner(of: path) else { return false }
        return subject == .owner || subject == .user(owner)
    }

    private static func identifier(_ octets: [UInt8]) throws(SyntaxError) -> AccessIdentifier {
        guard let identifier = AccessIdentifier(imap: octets) else { throw SyntaxError("no such kind of identifier") }
        return identifier
    }

    private func changeable(_ octets: [UInt8], of path: FolderName) throws -> AccessIdentifier {
        let identifier = try Self.identifier(octets)
        guard !isOwner(identifier.subject, of: path) else {
            throw Refusal(code: .cannot, text: "the owner has all rights")
        }
        return identifier
    }

    /// Rights are for users that there are: a later one of that name must not find them.
    private func requireUser(_ user: String) async throws(Refusal) {
        let found: AccountMailbox?
        do throws(AccountsError) {
            found = try await account(user)
        } catch {
            throw Refusal(code: .unavailable, text: "it can't be found out now who that is")
        }
        guard found != nil else { throw Refusal(code: .cannot, text: "there is no such user") }
    }
}

extension MailboxRights {
    /// With RFC 2086's `c` for `kx` and `d` for `et` (RFC 4314 §2.1.1).
    fileprivate init(letters: [UInt8]) {
        self = []
        for letter in letters {
            switch letter {
            case UInt8(ascii: "c"): formUnion(Self.old.create)
            case UInt8(ascii: "d"): formUnion(Self.old.delete)
            default: if let right = MailboxRights(letter: letter) { insert(right) }
            }
        }
    }

    private static let old: (create: MailboxRights, delete: MailboxRights) = (
        [.create, .deleteFolder], [.expunge, .deleteMessages]
    )

    /// As clients are told of them.
    fileprivate var told: String {
        text + (isDisjoint(with: Self.old.create) ? "" : "c") + (isDisjoint(with: Self.old.delete) ? "" : "d")
    }
}
