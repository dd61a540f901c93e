import DNS
import MIME
import MailAuth
import MailRules
import NIOCore
import NIOPosix
import Network
import Resolution
import SMTP
import Testing

@testable import Policy

@Suite struct MessageAuthenticationTests {
    private static let zone = """
        example.org. TXT "v=spf1 ip4:192.0.2.1 -all"
        _dmarc.example.org. TXT "v=DMARC1; p=reject"
        quarantine.example. TXT "v=spf1 -all exp=why.quarantine.example"
        why.quarantine.example. TXT "ask %{d}"
        _dmarc.quarantine.example. TXT "v=DMARC1; p=quarantine"
        1.2.0.192.in-addr.arpa. PTR out.example.org.
        out.example.org. A 192.0.2.1
        9.2.0.192.in-addr.arpa. PTR liar.example.org.
        liar.example.org. A 192.0.2.77
        """

    private func outcome(
        _ message: String,
        from sender: String = "a@example.org",
        address: [UInt8] = [192, 0, 2, 1],
        zone text: String = zone,
        failing: [String] = [],
        pieces: Int = .max,
        known: [String]? = nil,
        _ change: (inout AuthenticationPolicy) -> Void = { _ in }
    ) async throws -> (verdict: AuthenticationVerdict, passed: String, isHeaderTooLong: Bool) {
        let dns = try PretendedDNS(text, failing: failing)
        var policy = AuthenticationPolicy(authservID: "mx.example.net")
        change(&policy)
        let sender = try ReversePath(parsing: "<\(sender)>".utf8)
        let chosen = policy
        let shared = known.map { names in
            SharedAnswers(records: KnownRecords()) { name, type in
                names.contains("\(name) \(type)") ? dns.answer(name, type) : nil
            }
        }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let octets = ByteBuffer(
            string: message.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\r\n")
        )
        return await Task(executorPreference: LoopExecutor.of(loop)) {
            let authentication = MessageAuthentication(
                .init(address: address, helo: "mail.example.org", sender: sender),
                policy: chosen,
                now: 1_700_000_000,
                on: loop,
                shared: shared,
                query: dns.query
            )
            var passed = ByteBuffer()
            var rest = octets
            while rest.readableBytes > 0, let piece = rest.readSlice(length: min(pieces, rest.readableBytes)) {
                passed.writeImmutableBuffer(authentication.pass(piece))
            }
            passed.writeImmutableBuffer(authentication.end())
            let verdict = await authentication.verdict(sample: 99)
            return (verdict, String(buffer: passed), authentication.isHeaderTooLong)
        }.value
    }

    /// What comes of a message must not depend on what was known before.
    @Test(arguments: [
        [], ["1.2.0.192.in-addr.arpa. PTR"],
        ["1.2.0.192.in-addr.arpa. PTR", "mail.example.org. TXT", "example.org. TXT"],
        [
            "1.2.0.192.in-addr.arpa. PTR", "mail.example.org. TXT", "example.org. TXT", "out.example.org. A",
            "_dmarc.example.org. TXT", "_dmarc.org. TXT",
        ],
    ])
    func knownAnswersChangeNothing(_ known: [String]) async throws {
        let message = "From: A <a@example.org>\n\nHello.\n"
        let fresh = try await outcome(message)
        let (verdict, passed, _) = try await outcome(message, known: known)
        #expect(verdict.action == .accept && verdict.clientName == "out.example.org")
        #expect(fields(verdict) == fields(fresh.verdict) && passed == fresh.passed)
        let refused = try await outcome(message, address: [192, 0, 2, 9], known: known).verdict
        #expect(fields(refused).contains("spf=fail"))
    }

    private func fields(_ verdict: AuthenticationVerdict) -> String { String(buffer: verdict.fields) }

    @Test func mailOfAPermittedClientPasses() async throws {
        let (verdict, passed, _) = try await outcome("From: A <a@example.org>\n\nHello.\n")
        #expect(verdict.action == .accept)
        #expect(verdict.clientName == "out.example.org")
        #expect(passed == "From: A <a@example.org>\r\n\r\nHello.\r\n")
        let text = fields(verdict)
        #expect(text.hasPrefix("Authentication-Results: mx.example.net;\r\n\tiprev=pass (out.example.org)"))
        #expect(text.contains("spf=pass\r\n\t smtp.mailfrom=a@example.org"))
        #expect(text.contains("dkim=none;\r\n\tdmarc=pass (p=reject dis=none)\r\n\t header.from=example.org\r\n"))
        #expect(text.contains("\r\nReceived-SPF: pass\r\n (mx.example.net: example.org lists 192.0.2.1"))
        #expect(verdict.results.map { "\($0)=\($1)" } == ["spf=pass", "dkim=none", "dmarc=pass"])
    }

    @Test func policyOfTheAuthorsDomainIsFollowed() async throws {
        let stranger: [UInt8] = [192, 0, 2, 9]
        var verdict = try await outcome("From: a@example.org\n\n", address: stranger).verdict
        let text = """
            example.org asks to refuse mail that fails DMARC: neither SPF nor DKIM passes for example.org \
            (SPF: example.org does not permit 192.0.2.9 to send its mail)
            """
        #expect(verdict.action == .reject(.authenticationFailed, text))
        #expect(verdict.reasons.map(\.method) == ["spf"])
        #expect(verdict.clientName == nil)
        #expect(fields(verdict).contains("iprev=fail"))
        verdict = try await outcome("From: a@quarantine.example\n\n", address: stranger).verdict
        #expect(verdict.action == .quarantine)
        #expect(fields(verdict).contains("dmarc=fail (p=quarantine dis=quarantine)"))
        // Written down only.
        verdict = try await outcome("From: a@example.org\n\n", address: stranger) { $0.followsDMARC = false }.verdict
        #expect(verdict.action == .accept)
        #expect(fields(verdict).contains("dmarc=fail (p=reject dis=none)"))
        // Nobody asks for anything.
        verdict = try await outcome("From: a@elsewhere.example\n\n", address: stranger).verdict
        #expect(verdict.action == .accept)
    }

    @Test func failureOfSPFIsRefusedWhereThatIsWanted() async throws {
        let sender = "b@quarantine.example"
        let message = "From: b@elsewhere.example\n\n"
        #expect(try await outcome(message, from: sender).verdict.action == .accept)
        let verdict = try await outcome(message, from: sender) { $0.refusesSPFFailures = true }.verdict
        let text =
            "SPF: quarantine.example does not permit 192.0.2.1 to send its mail (quarantine.example explained: ask quarantine.example)"
        #expect(verdict.action == .reject(.spfFailed, text))
    }

    @Test func whatIsNotKnownIsNoFailure() async throws {
        let message = "From: a@example.org\n\n"
        let failing = ["_dmarc.example.org", "example.org", "1.2.0.192.in-addr.arpa"]
        var verdict = try await outcome(message, failing: failing).verdict
        #expect(verdict.action == .accept)
        #expect(verdict.results.map { "\($0)=\($1)" } == ["spf=temperror", "dkim=none", "dmarc=temperror"])
        #expect(fields(verdict).contains("iprev=temperror"))
        verdict = try await outcome(message, failing: failing) { $0.defersInTrouble = true }.verdict
        guard case .defer(.authenticationTrouble, _) = verdict.action else {
            Issue.record("\(verdict.action)")
            return
        }
    }

    @Test func mailOfSeveralAuthorsIsRefused() async throws {
        let verdict = try await outcome("From: a@example.org\nFrom: b@elsewhere.example\n\n").verdict
        #expect(verdict.action == .reject(.authenticationFailed, "the message has more than one From field"))
        #expect(try await outcome("Subject: x\n\n").verdict.action == .accept)
        // One that can't be read doesn't switch the other's policy off.
        let beside = try await outcome("From: CEO <a@example.org>, x@[192.0.2.1]\n\n").verdict
        #expect(
            beside.action
                == .reject(.authenticationFailed, "the From field has addresses of several domains")
        )
        let stranger: [UInt8] = [192, 0, 2, 9]
        let rooted = try await outcome("From: a@example.org.\n\n", from: "b@elsewhere.example", address: stranger)
        guard case .reject = rooted.verdict.action else {
            Issue.record("\(rooted.verdict.action)")
            return
        }
        #expect(try await outcome("From: CEO <ceo@[192.0.2.1]>\n\n").verdict.action == .quarantine)
        #expect(try await outcome("From: Mail Delivery System\n\n").verdict.action == .accept)
        let written = try await outcome("Subject: x\n\n") { $0.followsDMARC = false }.verdict
        #expect(written.action == .accept)
    }

    /// Our own limits must not open a way around DMARC.
    @Test func whatIsCutOffHasToWait() async throws {
        let message = "From: a@deep.example.org\n\n"
        // The deadline is over at once: whether the author's domain exists can't be asked any more.
        let zone = "_dmarc.example.org. TXT \"v=DMARC1; p=none; np=reject\""
        let verdict = try await outcome(message, zone: zone) { $0.timeout = .zero }.verdict
        guard case .defer(.authenticationTrouble, _) = verdict.action else {
            Issue.record("\(verdict.action)")
            return
        }
    }

    @Test func whatCouldNotBeJudgedIsNotRefusedForGood() async throws {
        let verdict = try await outcome("From: a@example.org\n\n", failing: ["example.org"]).verdict
        guard case .defer(.authenticationTrouble, _) = verdict.action else {
            Issue.record("\(verdict.action)")
            return
        }
    }

    @Test func usersDoNotSpeakForUs() {
        let forged = "Authentication-Results: mx.example.net; dmarc=pass\r\n"
        let filter = ForgedResultsFilter(authservID: "mx.example.net")
        var passed = filter.pass(ByteBuffer(string: forged + "Subject: x\r\n"), isHeaderless: false)
        passed.writeImmutableBuffer(filter.pass(ByteBuffer(string: "\r\n" + forged), isHeaderless: false))
        passed.writeImmutableBuffer(filter.end())
        #expect(String(buffer: passed) == "Subject: x\r\n\r\n" + forged)
    }

    @Test(arguments: [1, 7, 64, Int.max]) func ourOwnWordIsRemoved(_ pieces: Int) async throws {
        let message = """
            Received: by somebody
            Authentication-Results: mx.example.net; dmarc=pass
            authentication-results:
             MX.example.net (hm) ; spf=pass
            From: a@example.org
            Authentication-Results: other.example; dkim=pass
            Authentication-Results: (broken
            Received-SPF: pass (mx.example.net: fine) client-ip=192.0.2.1;
             Receiver="MX.example.net."; helo=x
            Received-SPF: pass (other.example: receiver=mx.example.net) receiver=other.example; identity=mailfrom
            Received-SPF: Pass (google.com: domain of a@b designates 1.2.3.4 as permitted sender) client-ip=1.2.3.4;
            Subject: x

            Authentication-Results: mx.example.net; dmarc=pass

            """
        let passed = try await outcome(message, pieces: pieces).passed
        #expect(
            passed == """
                Received: by somebody\r
                From: a@example.org\r
                Authentication-Results: other.example; dkim=pass\r
                Received-SPF: pass (other.example: receiver=mx.example.net) receiver=other.example; identity=mailfrom\r
                Received-SPF: Pass (google.com: domain of a@b designates 1.2.3.4 as permitted sender) client-ip=1.2.3.4;\r
                Subject: x\r
                \r
                Authentication-Results: mx.example.net; dmarc=pass\r

                """
        )
    }

    @Test(arguments: ["", "From: a@example.org", "From: a@example.org\n", "\n\nx", "no header\nat all\n"])
    func messagesWithoutAnEndOfTheHeaderPassWhole(_ message: String) async throws {
        let passed = try await outcome(message, pieces: 3).passed
        #expect(passed == message.replacing("\n", with: "\r\n"))
    }

    @Test func headerThatIsTooLongIsNoticed() async throws {
        let field = "X: " + String(repeating: "x", count: 70) + "\n"
        let header = String(repeating: field, count: MessageAuthentication.maximumHeader / 70)
        for pieces in [65536, .max] {
            let result = try await outcome(header + "From: a@example.org\n\n", pieces: pieces)
            #expect(result.isHeaderTooLong)
        }
    }

    /// Ten signatures with the longest names and reasons there can be.
    @Test func addedFieldsStayWithinBounds() async throws {
        let label = String(repeating: "x", count: 60)
        let domain = "\(label).\(label).\(label).example"
        let identity = String(repeating: "\\\"", count: 400)
        let signature =
            "DKIM-Signature: v=1; a=rsa-sha256; d=\(domain); s=\(label); i=\(identity)@\(domain); h=from; bh=; b=\n"
        let message = String(repeating: signature, count: 40) + "From: a@example.org\n\n"
        let verdict = try await outcome(message).verdict
        #expect(verdict.fields.readableBytes < 32 * 1024)
        #expect(fields(verdict).contains("dmarc=pass"))
    }
}

@Suite struct ResolverLookupTests {
    @Test func questionIsAskedOnce() async throws {
        let dns = try PretendedDNS("example.org. TXT \"one\"")
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let name = try DomainName("example.org")
        let texts = await Task(executorPreference: LoopExecutor.of(loop)) {
            let lookup = ResolverLookup(on: loop, query: dns.query)
            lookup.prefetch(texts: [name])
            async let first = try? lookup.txt(name)
            async let second = try? lookup.txt(name)
            return [await first, await second, try? await lookup.txt(name)]
        }.value
        #expect(texts == Array(repeating: [Array("one".utf8)], count: 3))
        #expect(dns.asked == ["example.org. TXT"])
    }

    /// Nobody waits for a question that is under way at the deadline.
    @Test func whatIsAskedIsNotWaitedForBeyondTheDeadline() async throws {
        let dns = try PretendedDNS("", silent: ["7.2.0.192.bl.test"])
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let list = DNSList(name: "bl", zone: try DomainName("bl.test"), weight: 5)
        let began = ContinuousClock.now
        let facts = await Task(executorPreference: LoopExecutor.of(loop)) {
            await ClientLookup.run(
                [192, 0, 2, 7],
                lists: [list],
                timeout: .milliseconds(100),
                on: loop,
                query: dns.query
            )
        }.value
        #expect(ContinuousClock.now - began < .seconds(30))
        #expect(facts.lists.isEmpty && facts.unknownLists == ["bl"])
    }

    /// A part whose time is over leaves the others their own.
    @Test func aPartIsCutOffAlone() async throws {
        let dns = try PretendedDNS("", silent: ["slow.example"])
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let name = try DomainName("slow.example")
        await Task(executorPreference: LoopExecutor.of(loop)) {
            let lookup = ResolverLookup(on: loop, query: dns.query)
            let part = BoundedLookup(lookup, on: loop)
            let whole = Task(executorPreference: LoopExecutor.of(loop)) {
                (try? await lookup.txt(name)) == nil && lookup.isCutOff
            }
            while dns.asked.isEmpty { await Task.yield() }
            part.deadline = .now() + .milliseconds(50)
            #expect((try? await part.txt(name)) == nil)
            #expect(!lookup.isCutOff)
            lookup.deadline = .now()
            #expect(await whole.value)
        }.value
        #expect(dns.asked == ["slow.example. TXT"])
    }

    /// A DNS that doesn't answer in all of the time is in trouble; a question that came when others had used it up met our limit.
    @Test func whoHadTheTimeMetNoLimit() async throws {
        let dns = try PretendedDNS("", silent: ["first.example", "late.example"])
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let (first, late) = (try DomainName("first.example"), try DomainName("late.example"))
        try await Task(executorPreference: LoopExecutor.of(loop)) {
            let lookup = ResolverLookup(on: loop, query: dns.query)
            lookup.deadline = .now() + .milliseconds(200)
            #expect((try? await lookup.txt(first)) == nil)
            #expect(!lookup.isCutOff)
            lookup.deadline = .now() + .milliseconds(200)
            try await loop.scheduleTask(in: .milliseconds(120)) {}.futureResult.get()
            #expect((try? await lookup.txt(late)) == nil)
            #expect(lookup.isCutOff)
        }.value
    }

    @Test func nothingNewIsAskedAfterTheDeadline() async throws {
        let dns = try PretendedDNS("example.org. TXT \"one\"")
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let name = try DomainName("example.org")
        await Task(executorPreference: LoopExecutor.of(loop)) {
            let lookup = ResolverLookup(on: loop, query: dns.query)
            _ = try? await lookup.txt(name)
            lookup.deadline = .now()
            #expect((try? await lookup.txt(name)) != nil)
            do throws(MailAuthLookupError) {
                _ = try await lookup.ip4Addresses(name)
                Issue.record("it was asked")
            } catch {
                #expect(error == .temporary)
            }
        }.value
        #expect(dns.asked == ["example.org. TXT"])
    }
}
