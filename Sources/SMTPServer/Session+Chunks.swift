import CoreMetrics
import Logging
import MIME
import MilterClient
import NIOCore
import Network
import SMTP
import Submission

/// A message that comes in chunks (RFC 3030), from its first one to its last.
struct ChunkedMessage {
    let submission: MessageSubmission
    let date: DateTime
    var intake: MessageIntake
}

extension Session {
    /// BDAT (RFC 3030 §2): so many octets follow, whatever the reply will be.
    func chunk(_ octets: Int, isLast: Bool) async throws(ConnectionError) -> Next {
        guard extensions.contains(.chunking) else {
            return try await fault(.syntaxError, .syntaxError, "unknown command")
        }
        // More than anybody reads to throw it away; this ends the session.
        guard octets / 2 <= max(settings.limits.message, 1024 * 1024) else {
            _ = try await fault(.tooLarge, .messageTooBig, "message too large")
            return .close
        }
        // Octets that are only thrown away are no work that a place is kept for.
        if user == nil, transaction?.recipients.isEmpty == false { connection.note(.atWork) }
        defer { if user == nil { connection.note(.stranger) } }
        if let refusal = try await beginChunks(octets, isLast: isLast) { return refusal }
        guard var message = chunked, let transaction else { return .close }
        var left = octets
        while left > 0 {
            try checkTime()
            while left > 0, let slice = connection.input.readSlice(length: min(left, connection.input.readableBytes)),
                slice.readableBytes > 0
            {
                left -= slice.readableBytes
                await message.intake.append(slice)
            }
            guard left > 0 else { break }
            try await flush()
            guard try await connection.receive() else { throw .closed }
        }
        if isLast { await message.intake.finishChunks() }
        if let fault = message.intake.fault {
            resetTransaction()
            conclude(transaction, message.intake, Verdict(fault), isLast: isLast)
            return message.intake.shouldDisconnect ? .close : .command
        }
        guard isLast else {
            chunked = message
            reply(.ok, .success, "\(octets) octets")
            return .command
        }
        self.transaction = nil
        chunked = nil
        return await commit(transaction, message.intake, message.submission, date: message.date)
    }

    /// Begins the message with its first chunk. Where there can't be one, the chunk is read and thrown away.
    private func beginChunks(_ octets: Int, isLast: Bool) async throws(ConnectionError) -> Next? {
        if chunked != nil { return nil }
        guard let transaction, !transaction.recipients.isEmpty else {
            try await discard(octets)
            return try await refuseMessage()
        }
        let (begun, next) = try await beginMessage(transaction, isWhole: isLast)
        guard let submission = begun else {
            try await discard(octets)
            resetTransaction()
            return next
        }
        let isBinary = transaction.sender.parameters.body == .binaryMIME
        let date = DateTime.now()
        let intake = intake(of: transaction, submission, date, isBinary: isBinary)
        chunked = ChunkedMessage(submission: submission, date: date, intake: intake)
        return nil
    }

    private func discard(_ octets: Int) async throws(ConnectionError) {
        var left = octets
        while left > 0 {
            let taken = min(left, connection.input.readableBytes)
            connection.input.moveReaderIndex(forwardBy: taken)
            left -= taken
            guard left > 0 else { return }
            try checkTime()
            try await flush()
            guard try await connection.receive() else { throw .closed }
        }
    }
}
