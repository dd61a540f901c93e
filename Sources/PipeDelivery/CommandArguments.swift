import Daemon
import Deliverer
import NIOCore
import SMTP

/// What a program is started with for some of a message's recipients. No shell is in between.
enum CommandArguments {
    /// Why a program isn't started for a message.
    enum Refusal: Error, Equatable {
        /// An argument would begin with a dash because an address does, and be taken for an option.
        case dash(PipeMacro)
    }

    /// - Parameters:
    ///   - recipients: arguments with something of a recipient in them stand there once for each.
    ///   - delimiters: what may stand between user and extension.
    static func expand(
        _ arguments: [String],
        _ request: DeliverRequest,
        recipients: [MailAddress],
        delimiters: String
    ) throws(Refusal) -> [String] {
        var expanded: [String] = []
        for argument in arguments {
            let pieces = pieces(of: argument)
            let isOfRecipient = pieces.contains {
                if case .macro(let macro) = $0 { macro.isOfRecipient } else { false }
            }
            for recipient in isOfRecipient ? recipients : Array(recipients.prefix(1)) {
                var text = ""
                for piece in pieces {
                    switch piece {
                    case .text(let words): text += words
                    case .macro(let macro):
                        let value = value(of: macro, request, recipient, delimiters)
                        guard !text.isEmpty || value.utf8.first != UInt8(ascii: "-") else { throw .dash(macro) }
                        text += value
                    }
                }
                expanded.append(text)
            }
        }
        return expanded
    }

    private enum Piece {
        case text(String)
        case macro(PipeMacro)
    }

    /// The configuration was read: each macro is one.
    private static func pieces(of argument: String) -> [Piece] {
        var pieces: [Piece] = []
        for (index, part) in argument.split(separator: "${", omittingEmptySubsequences: false).enumerated() {
            guard index > 0, let end = part.firstIndex(of: "}"), let macro = PipeMacro(rawValue: String(part[..<end]))
            else {
                if !part.isEmpty { pieces.append(.text(String(part))) }
                continue
            }
            pieces.append(.macro(macro))
            let rest = part[part.index(after: end)...]
            if !rest.isEmpty { pieces.append(.text(String(rest))) }
        }
        return pieces
    }

    private static func value(
        of macro: PipeMacro,
        _ request: DeliverRequest,
        _ recipient: MailAddress,
        _ delimiters: String
    ) -> String {
        let local = recipient.localPart
        let delimiter = local.dropFirst().firstIndex { delimiters.contains($0) }
        return switch macro {
        case .recipient: recipient.description
        case .mailbox: local
        case .user: delimiter.map { String(local[..<$0]) } ?? local
        case .extension: delimiter.map { String(local[local.index(after: $0)...]) } ?? ""
        case .domain: recipient.domain
        case .sender: request.sender.path.address?.description ?? ""
        case .id: request.id
        case .size: String(request.added.readableBytes + request.octets)
        }
    }
}
