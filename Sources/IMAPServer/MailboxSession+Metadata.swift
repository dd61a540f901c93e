import IMAP
import MIME
import Mailbox

/// Annotations of mailboxes and of the server (RFC 5464).
extension MailboxSession {
    /// GETMETADATA (RFC 5464 §4.2).
    func getMetadata(_ command: GetMetadataCommand) async throws -> OKResponse {
        let target = try await annotationTarget(command.mailbox)
        let store = store
        let annotations = try await onDisk { () throws(MailboxError) in try store.annotations(of: target) }
        var values: [AnnotationValue] = []
        var longest = 0
        for value in Self.chosen(command, among: named(annotations, target)) {
            if let maximum = command.maximumSize, let size = value.value?.count, size > maximum {
                longest = max(longest, size)
            } else {
                values.append(value)
            }
        }
        if !values.isEmpty { respond { [values] in $0.metadata(command.mailbox, values) } }
        return OKResponse(code: longest > 0 ? .longEntries(longest) : nil)
    }

    /// The annotations of a mailbox that LIST shows (RFC 9590 §3); none where they can't be had.
    func showMetadata(_ name: MailboxName, _ names: [AnnotationName]) async throws {
        do {
            _ = try await getMetadata(GetMetadataCommand(name, names))
        } catch is Refusal {
            return
        }
    }

    /// SETMETADATA (RFC 5464 §4.3).
    func setMetadata(_ mailbox: MailboxName?, _ values: [AnnotationValue]) async throws {
        let target = try await annotationTarget(mailbox)
        for value in values where (value.value?.count ?? 0) > Annotations.maximumValue {
            throw Refusal(code: .metadataMaximumSize(Annotations.maximumValue), text: "the value is too large")
        }
        if target == .server, values.contains(where: { !$0.name.isPrivate }) {
            // All users would see it.
            throw Refusal(code: .noPermission, text: "the server's shared annotations can't be changed by users")
        }
        var changes: [AnnotationKey: [UInt8]?] = [:]
        for value in values { changes.updateValue(value.value, forKey: value.name.key) }
        let store = store
        let outcome = try await onDisk { [changes] () throws(MailboxError) in try store.annotate(target, changes) }
        switch outcome {
        case .kept: return
        case .tooMany: throw Refusal(code: .metadataTooMany, text: "too many annotations")
        }
    }

    private func annotationTarget(_ mailbox: MailboxName?) async throws(Refusal) -> AnnotationTarget {
        guard let mailbox else { return .server }
        return .folder(try await folderName(mailbox))
    }

    /// What this user sees, by the names that clients know.
    private func named(_ annotations: Annotations, _ target: AnnotationTarget) -> [AnnotationValue] {
        var values: [AnnotationValue] = []
        for (key, value) in annotations.values {
            if let name = AnnotationName(key) { values.append(AnnotationValue(name, value)) }
        }
        // RFC 5464 §6.2.2: every domain has a postmaster.
        if target == .server, let domain = address.split(separator: "@").last,
            let name = AnnotationName("/shared/admin".utf8)
        {
            values.removeAll { $0.name == name }
            values.append(AnnotationValue(name, Array("mailto:postmaster@\(domain)".utf8)))
        }
        return values.sorted { $0.name.description < $1.name.description }
    }

    /// Those that are asked for, each once. What has no value is NIL where it alone is asked for.
    private static func chosen(_ command: GetMetadataCommand, among all: [AnnotationValue]) -> [AnnotationValue] {
        var chosen: [AnnotationValue] = []
        var known: Set<AnnotationName> = []
        for name in command.names {
            let some = all.filter { $0.name.isWithin(name, depth: command.depth) }
            if some.isEmpty, command.depth == .zero, name.hasValue, known.insert(name).inserted {
                chosen.append(AnnotationValue(name, nil))
            }
            for value in some where known.insert(value.name).inserted { chosen.append(value) }
        }
        return chosen
    }
}

extension AnnotationName {
    private static let shared = "/shared"
    private static let ownPrefix = "/private"

    /// By which a store knows it, for the user of the session.
    fileprivate var key: AnnotationKey {
        let prefix = isPrivate ? Self.ownPrefix : Self.shared
        return AnnotationKey(isPrivate ? .user("") : .shared, String(description.dropFirst(prefix.count)))
    }

    /// Nil for another user's own.
    fileprivate init?(_ key: AnnotationKey) {
        switch key.scope {
        case .shared: self.init((Self.shared + key.name).utf8)
        case .user(""): self.init((Self.ownPrefix + key.name).utf8)
        case .user: return nil
        }
    }
}
