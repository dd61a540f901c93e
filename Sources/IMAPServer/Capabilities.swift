import IMAP
import SASL

/// What this server offers: all capabilities but those that its configuration has cut. What is cut isn't understood either.
package struct Capabilities: Sendable {
    private let disabled: Set<Capability>
    /// How many messages a command may be about; 0 for any number.
    let messagesPerCommand: Int

    /// What can't be cut: the protocol itself, and that there is no login without TLS.
    private static let fixed: Set<Capability> = [.imap4rev1, .loginDisabled]

    /// - Parameters:
    ///   - disabled: names in any case (`imapd.disabled-capabilities`).
    ///   - messagesPerCommand: how many messages a command may be about (RFC 9738); 0 for any number.
    ///   - sharesFolders: whether users may let others at their folders, or there are some for all.
    package init(disabled names: [String] = [], messagesPerCommand: Int = 0, sharesFolders: Bool = false) {
        var disabled = Set(names.compactMap { Capability(name: $0) })
        disabled.subtract(Self.fixed)
        // A server that takes literals of any size doesn't say that it takes small ones (RFC 7888 §4).
        if !disabled.contains(.literalPlus) { disabled.insert(.literalMinus) }
        if !sharesFolders { disabled.insert(.acl) }
        if disabled.contains(.acl) { disabled.formUnion([.rights, .listMyRights]) }
        if messagesPerCommand == 0 { disabled.insert(.messageLimit) }
        self.messagesPerCommand = disabled.contains(.messageLimit) ? 0 : messagesPerCommand
        self.disabled = disabled
    }

    /// Those names of a list that are no capabilities which can be cut.
    package static func unknown(_ names: [String]) -> [String] {
        names.filter { name in Capability(name: name).map { fixed.contains($0) } ?? true }
    }

    func offers(_ capability: Capability) -> Bool { !disabled.contains(capability) }

    /// The first that a command needs and isn't offered.
    func missing(for command: Command) -> Capability? { command.needs.first { !offers($0) } }

    private func names(in phases: [Capability.Phase]) -> [Capability] {
        Capability.allCases.filter { capability in
            // Where METADATA is offered it says this too (RFC 5464 §1).
            if capability == .metadataServer, offers(.metadata) { return false }
            return offers(capability) && phases.contains(capability.phase)
        }
    }

    /// - Parameters:
    ///   - takesPasswords: whether LOGIN is taken.
    ///   - mechanisms: that AUTHENTICATE takes.
    func beforeLogin(takesPasswords: Bool, mechanisms: [SASLMechanismName], mayStartTLS: Bool) -> [String] {
        let names = names(in: [.always, .beforeLogin]).filter { capability in
            switch capability {
            case .startTLS: mayStartTLS
            case .loginDisabled: !takesPasswords
            default: true
            }
        }
        return names.map(\.rawValue) + mechanisms.map { "AUTH=\($0.rawValue)" }
    }

    /// - Parameter messageLimit: octets of a message in APPEND.
    func afterLogin(messageLimit: Int) -> [String] {
        names(in: [.always, .afterLogin]).map { capability in
            switch capability {
            case .appendLimit: "\(capability.rawValue)=\(messageLimit)"
            case .messageLimit: "\(capability.rawValue)=\(messagesPerCommand)"
            default: capability.rawValue
            }
        }
    }

    /// Limits for a reader of commands.
    func limits(_ limits: CommandLimits) -> CommandLimits {
        var limits = limits
        // RFC 7888 §5
        if !offers(.literalPlus) { limits.nonSynchronizing = offers(.literalMinus) ? 4096 : 0 }
        return limits
    }

    /// The answer to ID (RFC 2971).
    static let identity = [IDField(name: Array("name".utf8), value: Array("Martlet".utf8))]
}
