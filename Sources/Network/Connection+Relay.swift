import NIOCore

extension Connection {
    /// Passes octets both ways between this connection and another on the same loop until both directions have ended
    /// or either connection failed; both are closed then.
    package func relay(to other: Connection) async {
        async let there: Void = pump(to: other)
        async let back: Void = other.pump(to: self)
        _ = await (there, back)
    }

    private func pump(to other: Connection) async {
        do {
            while true {
                if input.readableBytes > 0 {
                    let octets = input
                    input = ByteBuffer()
                    other.write(octets)
                    try await other.flush()
                }
                guard try await receive() else { break }
            }
            // The other direction may have more to say: only this one is over.
            other.endOutput()
        } catch {
            close()
            other.close()
        }
    }
}
