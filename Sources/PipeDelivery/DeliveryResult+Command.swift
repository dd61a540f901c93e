import Deliverer
import SMTP

extension DeliveryResult {
    /// What a program's end means (sysexits.h). What isn't about the message or its recipients is the administrator's to mend, and what
    /// isn't known is no "no": the mail waits.
    ///
    /// - Parameter said: what the program wrote.
    init(_ end: CommandProcess.End, of name: String, said: [UInt8]) {
        var (status, text) = Self.words(said)
        let action: Action
        let standard: EnhancedStatusCode
        switch end {
        case .exited(0):
            self.init(.delivered, .success, "given to \(name)")
            return
        case .exited(let code):
            (action, standard) = Self.meaning(of: code)
            if text.isEmpty { text = "\(name) ended with \(code)" }
        case .killed(let signal):
            (action, standard) = (.delayed, .systemTrouble)
            text = "\(name) was ended by signal \(signal)" + (text.isEmpty ? "" : ": \(text)")
            status = nil
        case .tooLate:
            (action, standard) = (.delayed, .systemTrouble)
            text = "\(name) took too long" + (text.isEmpty ? "" : ": \(text)")
            status = nil
        }
        let given = status.flatMap { $0.statusClass == action.statusClass ? $0 : nil }
        self.init(action, given ?? standard, text)
    }

    private static func meaning(of code: Int32) -> (Action, EnhancedStatusCode) {
        switch code {
        case 65: (.failed, EnhancedStatusCode(5, 6, 0))  // EX_DATAERR
        case 67: (.failed, .noSuchMailbox)  // EX_NOUSER
        case 68: (.failed, EnhancedStatusCode(5, 1, 2))  // EX_NOHOST
        case 69: (.failed, EnhancedStatusCode(5, 3, 0))  // EX_UNAVAILABLE
        case 76: (.failed, EnhancedStatusCode(5, 5, 0))  // EX_PROTOCOL
        case 77: (.failed, EnhancedStatusCode(5, 7, 0))  // EX_NOPERM
        case 100: (.failed, EnhancedStatusCode(5, 3, 0))  // qmail-command(8)
        case 64, 78, 126, 127: (.delayed, .misconfigured)  // EX_USAGE, EX_CONFIG, a shell's
        default: (.delayed, .systemTrouble)
        }
    }

    /// What a program said, in one line, and the status that it begins with.
    private static func words(_ said: [UInt8]) -> (status: EnhancedStatusCode?, text: String) {
        var text: [UInt8] = []
        for octet in String(decoding: said, as: UTF8.self).utf8 {
            let isBlank = octet <= 0x20 || octet == 0x7f
            if !isBlank { text.append(octet) } else if let last = text.last, last != 0x20 { text.append(0x20) }
            // Where it's cut, no letter is cut in two.
            if text.count >= maximumText, octet < 0x80 { break }
        }
        if text.last == 0x20 { text.removeLast() }
        let first = text.prefix { $0 != 0x20 }
        let words = String(decoding: text, as: UTF8.self)
        guard let status = EnhancedStatusCode(parsing: first) else { return (nil, words) }
        return (status, String(decoding: text.dropFirst(first.count + 1), as: UTF8.self))
    }

    /// Octets.
    private static let maximumText = 400
}
