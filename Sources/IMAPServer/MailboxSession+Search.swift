import IMAP
import MIME
import Mailbox
import MailboxProcess
import Network

extension MailboxSession {
    /// SEARCH (RFC 3501 §6.4.4).
    func search(_ selected: SelectedFolder, _ command: SearchCommand, byUID: Bool, tag: String) async throws {
        if let charset = command.charset, !ASCII.equal(charset, "UTF-8"), !ASCII.equal(charset, "US-ASCII") {
            throw Refusal(code: .badCharset(["US-ASCII", "UTF-8"]), text: "unknown character set")
        }
        let last = (number: UInt32(clamping: selected.known.count), uid: selected.known.last?.uid)
        let search = MessageSearch(command.key, last: last)
        var found: [UInt32] = []
        for place in selected.known.indices {
            guard !connection.hasEnded else { throw ConnectionError.closed }
            let message = selected.known[place]
            let number = UInt32(clamping: place + 1)
            let flags = search.usesKeywords ? Set(selected.flags(of: message)) : []
            let isMatch: Bool
            if search.needsDisk {
                let folder = selected.folder
                do throws(MailboxError) {
                    isMatch = try await disk.runWhenFree(on: connection.eventLoop) { () throws(MailboxError) in
                        var candidate = SearchCandidate(message, number: number, flags: flags, folder: folder)
                        return try search.matches(&candidate)
                    }
                } catch {
                    guard error == .notFound else { throw refusal(error) }
                    continue
                }
            } else {
                var candidate = SearchCandidate(message, number: number, flags: flags, folder: selected.folder)
                isMatch = try search.matches(&candidate)
            }
            if isMatch { found.append(byUID ? message.uid : number) }
        }
        if let results = command.results {
            respond { $0.extendedSearch(tag: tag, results, found, byUID: byUID) }
        } else {
            respond { $0.search(found) }
        }
    }
}
