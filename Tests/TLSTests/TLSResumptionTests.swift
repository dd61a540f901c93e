import COpenSSL
import NIOEmbedded
import Testing

@testable import TLS

/// Sessions are resumed once, and the oldest go first.
@Suite struct TLSResumptionTests {
    private let loop = EmbeddedEventLoop()

    private func key(_ number: Int) -> TLSResumption.Key {
        .init(destination: "host \(number)", verification: .nothing)
    }

    /// Whether there was one.
    private func take(_ store: TLSResumption, _ number: Int) -> Bool {
        guard let session = store.take(key(number))?.session else { return false }
        SSL_SESSION_free(session)
        return true
    }

    private func keep(_ store: TLSResumption, _ number: Int) throws {
        store.keep(try #require(SSL_SESSION_new()), nil, key(number))
    }

    @Test func oldestGoFirst() throws {
        let store = TLSResumption(capacity: 3, on: loop)
        for number in 0..<3 { try keep(store, number) }
        // What is replaced is new again.
        try keep(store, 0)
        try keep(store, 3)
        #expect(!take(store, 1))
        #expect([0, 2, 3].allSatisfy { take(store, $0) })
        #expect(!take(store, 0))
    }

    @Test func takenOnesMakeRoom() throws {
        let store = TLSResumption(capacity: 3, on: loop)
        for round in 0..<100 {
            try keep(store, round)
            if round >= 2 { #expect(take(store, round - 2)) }
        }
        #expect(take(store, 98))
        #expect(take(store, 99))
        try keep(store, 1)
        try keep(store, 2)
        try keep(store, 3)
        #expect([1, 2, 3].allSatisfy { take(store, $0) })
    }
}
