import MailRules
import Policy
import Reporting
import SMTP

extension Session {
    /// Has reportd count what came of a message's DMARC check. What is deferred comes again, and counts then.
    func report(_ authentication: AuthenticationVerdict, _ verdict: Verdict, rule: PolicyRule?) {
        let isTaken = verdict.id != nil || verdict.isDiscarded
        guard let reports = resources.reports, var evaluation = authentication.evaluation,
            isTaken || !verdict.code.isTransient
        else { return }
        if let rule { evaluation.override(rule: rule.line, isTaken: isTaken, isJunk: rule.sendsToJunk) }
        reports.report(.dmarc(evaluation))
    }
}
