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
        let run = SearchRun(command.key, in: selected.folder, selected.known)
        while try await !onDisk({ () throws(MailboxError) in try run.advance() }) {
            guard !connection.hasEnded else { throw ConnectionError.closed }
        }
        let found = run.found.map { byUID ? selected.known[$0].uid : UInt32(clamping: $0 + 1) }
        if let results = command.results {
            respond { $0.extendedSearch(tag: tag, results, found, byUID: byUID) }
        } else {
            respond { $0.search(found) }
        }
    }
}
